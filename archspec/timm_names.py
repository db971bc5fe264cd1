"""Nothing goes in; timm knows the named networks afterwards, as `archspec/NAME`: without importing timm or torch here.

`import archspec` calls `register_with_timm`. Where timm has been imported, its registry is filled at once; otherwise as
soon as it is, by a finder that waits for `timm.models` and then takes itself away. Nobody who does not use timm pays
for it. timm (1.0.31) takes a name with a slash for a path, so its `parse_model_name` is told of this prefix.
"""

import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PREFIX = "archspec/"

__all__: list[str] = []
"""timm adds the names that it registers."""

default_cfgs: dict[str, dict[str, Any]] = {}
"""Of each registered name, what timm asks before the network is made."""


def register_with_timm() -> None:
    """Register every named network with timm: now, or when timm is imported."""
    if "timm.models" in sys.modules:
        _register()
    elif not any(isinstance(finder, _WhenImported) for finder in sys.meta_path):
        sys.meta_path.insert(0, _WhenImported())


class _WhenImported(MetaPathFinder):
    """Finds timm.models as the other finders do, and has it followed by the registration."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "timm.models":
            return None
        sys.meta_path.remove(self)
        for finder in sys.meta_path:
            spec = finder.find_spec(fullname, path, target)
            if spec is not None and spec.loader is not None:
                # The loader is this module's own, and stays what it is to those who ask it for source.
                setattr(spec.loader, "exec_module", _then_register(spec.loader.exec_module))  # noqa: B010
                return spec
        return None


def _then_register(execute: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
    def exec_module(module: ModuleType) -> None:
        execute(module)
        _register()

    return exec_module


def _register() -> None:
    from archspec.schema.load import names

    try:
        from timm.models import _factory, is_model, register_model

        new = [name for name in names() if not is_model(PREFIX + name)]
        if new:
            _accept_prefix(_factory)
        for name in new:
            default_cfgs[PREFIX + name] = _default_cfg(name)
            register_model(_entry_point(name))
    except (ImportError, AttributeError) as error:  # `import timm` works all the same
        warnings.warn(f"archspec's networks are not registered with this version of timm: {error}", stacklevel=2)


def _entry_point(name: str) -> Callable[..., Any]:
    """timm calls it with what `timm.create_model` was given."""

    def create(pretrained: bool = False, **options: Any) -> Any:
        from archspec.timm_factory import create as create_network

        return create_network(name, pretrained, **options)

    create.__name__ = create.__qualname__ = PREFIX + name
    create.__doc__ = f"archspec's {name}."
    return create


def _default_cfg(name: str) -> dict[str, Any]:
    """What the first lines of the file say. A network is made for one image size; `img_size` makes it for another."""
    from archspec.schema.load import spec_path
    from archspec.schema.source import read_text

    text = spec_path(name).read_text(encoding="utf-8")
    written: Any = read_text(text.partition("\nstages:")[0])
    if not {"input", "classes"} <= written.keys():
        written = read_text(text)
    size, channels = written["input"]["size"], written["input"].get("channels", 3)
    height, width = (size, size) if isinstance(size, int) else size
    return {
        "input_size": (channels, height, width),
        "fixed_input_size": True,
        "num_classes": written["classes"],
        "description": written.get("description"),
        "crop_pct": 1.0 if height < 64 else 0.9,
    }


def _accept_prefix(factory: Any) -> None:
    """Names of ours are names of the registry and no paths."""
    parse: Callable[[str], tuple[str | None, str]] = factory.parse_model_name
    source_of_plain_names = parse("archspec")[0]

    def parse_model_name(model_name: str) -> tuple[str | None, str]:
        """timm's own, which takes a slash for a path, but for the names that archspec registers."""
        return (source_of_plain_names, model_name) if model_name.startswith(PREFIX) else parse(model_name)

    factory.parse_model_name = parse_model_name
