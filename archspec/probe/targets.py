"""What a user names goes in; a module, and the shape of what it takes, comes out.

swin_tiny, mine.yaml                    a named network or a file of the language
timm:NAME, timm:NAME.module.path        timm's model, without weights, or a module inside it
python:module:callable, file.py:callable    what the callable returns: a module
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from archspec.errors import ProbeError, nearest
from archspec.probe.subject import Layout


@dataclass(frozen=True)
class Target:
    """A module to be measured. `shape` is that of an image for networks, None where it must be given."""

    name: str
    module: nn.Module
    shape: tuple[int, ...] | None
    layout: Layout | None
    inner: str = ""
    """The path of a module inside; the shape is still that of the whole."""
    ours: bool = False


def target_of(text: str, inner: str = "", seed: int = 0) -> Target:
    """Raises ProbeError or SpecError where nothing has that name, with the nearest names."""
    if text.startswith("timm:"):
        return _timm(text.removeprefix("timm:"), inner, seed)
    if text.startswith("python:"):
        return _python(text.removeprefix("python:"), inner, seed)
    if ".py:" in text:
        return _file(text, inner, seed)
    return _network(text, inner, seed)


def _network(text: str, inner: str, seed: int) -> Target:
    from archspec.api import compile as compile_spec
    from archspec.api import program_of

    program = program_of(text)
    image = program.image
    shape = (image.channels, image.height, image.width)
    return Target(program.name, compile_spec(text, seed=seed), shape, "nchw", inner, ours=True)


def _timm(text: str, inner: str, seed: int) -> Target:
    import timm
    import torch

    words = text.split(".")
    models = set(timm.list_models())
    name = words[0]
    if name not in models:
        rule = f"timm has a model of that name\n    found: {name}"
        raise ProbeError(f"{rule}\n    nearest: {', '.join(nearest(name, models)) or 'see timm.list_models()'}")
    rest = words[1:]
    # A tag of pretrained weights (vit_base_patch16_224.augreg_in1k) names no module.
    torch.manual_seed(seed)
    model = timm.create_model(name, pretrained=False)
    if rest and not hasattr(model, rest[0]) and f"{name}.{rest[0]}" in timm.list_models(pretrained=True):
        rest = rest[1:]
    path = ".".join([*rest, *([inner] if inner else [])])
    config: Any = model.default_cfg
    return Target(f"timm:{name}", model, tuple(config["input_size"]), "nchw", path)


def _python(text: str, inner: str, seed: int) -> Target:
    module, _, name = text.partition(":")
    if not name:
        raise ProbeError(f"a Python target is python:MODULE:CALLABLE\n    found: python:{text}")
    try:
        loaded = importlib.import_module(module)
    except ImportError as error:
        raise ProbeError(f"a Python target names a module that can be imported\n    found: {module}: {error}") from None
    return _called(loaded, name, f"python:{text}", inner, seed)


def _file(text: str, inner: str, seed: int) -> Target:
    file, _, name = text.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise ProbeError(f"a Python target names a file that is there\n    found: {file}")
    found = importlib.util.spec_from_file_location(path.stem, path)
    if found is None or found.loader is None:
        raise ProbeError(f"a Python target names a file that Python can load\n    found: {file}")
    loaded = importlib.util.module_from_spec(found)
    sys.modules.setdefault(path.stem, loaded)
    try:
        found.loader.exec_module(loaded)
    except Exception as error:  # the user's own code may raise anything
        raise ProbeError(f"{file} cannot be loaded\n    found: {type(error).__name__}: {error}") from None
    return _called(loaded, name, text, inner, seed)


def _called(loaded: Any, name: str, text: str, inner: str, seed: int) -> Target:
    import torch

    factory: Callable[[], Any] | None = getattr(loaded, name, None)
    if factory is None or not callable(factory):
        known = [word for word in vars(loaded) if not word.startswith("_")]
        close = ", ".join(nearest(name, known)) or "-"
        raise ProbeError(f"{text} names a function or class\n    found: {name}\n    nearest: {close}")
    torch.manual_seed(seed)
    try:
        made = factory() if not isinstance(factory, nn.Module) else factory
    except Exception as error:  # the user's own code may raise anything
        found = f"{type(error).__name__}: {error}"
        raise ProbeError(f"{text} is called without arguments and returns a module\n    found: {found}") from None
    if not isinstance(made, nn.Module):
        raise ProbeError(f"{text} returns a torch.nn.Module\n    found: {type(made).__name__}")
    return Target(text, made, None, None, inner)


def module_inside(target: Target) -> nn.Module:
    """The module at `target.inner`. Raises ProbeError with the nearest paths."""
    modules: dict[str, nn.Module] = dict(target.module.named_modules())
    if target.inner not in modules:
        close = nearest(target.inner, modules) or tuple(name for name in list(modules)[1:4])
        raise ProbeError(
            f"{target.name} has a module at this path\n    found: {target.inner}\n    nearest: {', '.join(close)}"
        )
    return modules[target.inner]


def shape_from(text: str) -> tuple[int, ...]:
    """ "16,8,8" or "16x8x8" as numbers. Raises ProbeError."""
    words: Sequence[str] = text.replace("x", ",").split(",")
    if not all(word.strip().isdigit() and int(word) for word in words):
        raise ProbeError(f"a shape is written as positive numbers with commas, such as 16,8,8\n    found: {text}")
    return tuple(int(word) for word in words)
