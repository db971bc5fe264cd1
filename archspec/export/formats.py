"""A network and a format go in; a checked file in that format and its checkpoint come out.

Every format comes from the stand-alone source: torch exports its plain operators, so that neither a `.pt2` nor an
ONNX file needs kernels of archspec. What was written is read again, run, and compared with the compiled network at
three sizes of batch; where it differs the file does not appear.
"""

import os
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archspec.errors import ExportError
from archspec.export.decomposed import for_onnx
from archspec.export.kinds import Format
from archspec.export.source import MARK, StandAlone, stand_alone
from archspec.schema.network import Network

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.export import ExportedProgram

LARGEST_DIFFERENCE = 1e-4
"""Between outputs, relative to the largest of them."""
OPSET = 20
"""Of ONNX."""
BATCHES = (2, 3, 1)
"""What is exported is compared on batches of so many images; the first is what exporters see."""


@dataclass(frozen=True)
class Exported:
    """What was written, and how far its outputs are from the compiled network's (relative to their largest)."""

    file: Path
    checkpoint: Path
    format: Format
    difference: float
    digest: str
    seed: int | None
    """Of the initial weights; None where weights were given."""
    opset: int | None


def export(
    network: Network, to: Format, file: Path | None = None, weights: Path | None = None, seed: int = 0
) -> Exported:
    """Write a network in a format, with its checkpoint beside it.

    Args:
        network: as written or loaded.
        to: the format.
        file: where to; left out, the network's name in this folder.
        weights: a safetensors file of this network; left out, weights are drawn from `seed`.

    Raises:
        SpecError: the network does not resolve, or is too large.
        WeightsError: the weights are another network's.
        ExportError: a package is missing, torch cannot export the network, what was written gives other outputs, or
            weights or a file that nobody could make again would be written over.
    """
    import torch

    from archspec.api import compile as compile_network
    from archspec.artifacts import load_weights, save_weights

    _check_packages(to)
    target = file or Path(f"{network.name}{to.suffix}")
    checkpoint = target.with_suffix(".safetensors")
    if checkpoint == target:
        raise ExportError(
            f"{target} is where the checkpoint goes: name the file another way, such as {network.name}{to.suffix}"
        )
    compiled: Any = compile_network(network, seed=seed).eval()
    digest = compiled.program.digest
    if weights is not None:
        load_weights(compiled, weights, digest)
    _check_nothing_is_lost(compiled, checkpoint, target)
    made = stand_alone(network, checkpoint.name)
    ours = plain_module(made)
    ours.load_state_dict(compiled.state_dict())
    generator = torch.Generator().manual_seed(seed)
    image = compiled.program.image
    images = torch.randn(max(BATCHES), image.channels, image.height, image.width, generator=generator)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Its suffix says what it holds: torch reads a .pt2 as such.
    unfinished = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        run = WRITERS[to](made, ours.eval(), images[: BATCHES[0]], unfinished)
        difference = _difference(compiled, run, images)
        if not difference <= LARGEST_DIFFERENCE:
            raise ExportError(
                f"{network.name} as {to} gives other outputs than the compiled network: they differ by "
                f"{difference:.1e} of the largest, more than {LARGEST_DIFFERENCE:g}; nothing was written"
            )
        drawn = {"seed": str(seed), "drawn": "from the seed"} if weights is None else {}
        facts = {"name": network.name, "digest": digest, **drawn}
        save_weights(compiled, checkpoint, facts)
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)
    opset = OPSET if to is Format.onnx else None
    return Exported(target, checkpoint, to, difference, digest, seed if weights is None else None, opset)


def _check_nothing_is_lost(compiled: "nn.Module", checkpoint: Path, target: Path) -> None:
    """Raise ExportError where the checkpoint that is there holds other weights, or the .py file is no export."""
    from archspec.artifacts import holds

    if checkpoint.exists() and not holds(checkpoint, compiled):
        raise ExportError(
            f"{checkpoint} is there already and holds other weights: export those (--weights {checkpoint}), "
            "or name the file another way (-o)"
        )
    if target.suffix == Format.python.suffix and target.exists() and MARK not in target.read_text(errors="replace"):
        raise ExportError(f"{target} is there already and was not written by archspec: name the file another way (-o)")


def plain_module(made: StandAlone) -> "nn.Module":
    """The network of a stand-alone source, built here."""
    module = types.ModuleType("archspec_stand_alone")
    exec(compile(made.source, f"<{made.name}>", "exec"), module.__dict__)  # source that archspec wrote
    network: nn.Module = getattr(module, made.name)()
    return network


Run = Callable[["Tensor"], "Tensor"]


def _difference(compiled: "nn.Module", run: Run, images: "Tensor") -> float:
    """The largest difference between outputs over all sizes of batch, relative to the largest output."""
    import torch

    worst = 0.0
    with torch.no_grad():
        for batch in BATCHES:
            wanted, found = compiled(images[:batch]), run(images[:batch])
            scale = float(wanted.abs().max())
            difference = float((wanted - found).abs().max())
            relative = difference / scale if scale else difference
            # A number that is none compares as no difference.
            worst = max(worst, relative if relative == relative else float("inf"))
    return worst


# ------------------------------------------------------------------ one writer a format: it gives what the file runs


def _write_python(made: StandAlone, ours: "nn.Module", images: "Tensor", file: Path) -> Run:
    file.write_text(made.source)
    again = plain_module(StandAlone(file.read_text(), made.name))
    again.load_state_dict(ours.state_dict())
    return again.eval()


def _program(ours: "nn.Module", images: "Tensor") -> "ExportedProgram":
    """The network as torch.export has it, for any batch size."""
    import torch

    return torch.export.export(ours, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))


def _write_torch_export(made: StandAlone, ours: "nn.Module", images: "Tensor", file: Path) -> Run:
    import torch

    with _exporting(made):
        torch.export.save(_program(ours, images), file)
        return torch.export.load(file).module()


def _write_onnx(made: StandAlone, ours: "nn.Module", images: "Tensor", file: Path) -> Run:
    import onnxruntime
    import torch

    with _exporting(made):
        torch.onnx.export(
            for_onnx(_program(ours, images)),
            (),
            file,
            dynamo=True,
            opset_version=OPSET,
            input_names=["image"],
            output_names=["logits"],
            external_data=False,
            verbose=False,
        )
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])

    def run(batch: "Tensor") -> "Tensor":
        return torch.from_numpy(session.run(["logits"], {"image": batch.numpy()})[0])

    return run


WRITERS: dict[Format, Callable[[StandAlone, Any, Any, Path], Run]] = {
    Format.python: _write_python,
    Format.torch_export: _write_torch_export,
    Format.onnx: _write_onnx,
}


@contextmanager
def _exporting(made: StandAlone) -> Iterator[None]:
    """torch's own warnings while it exports are not the user's; its errors say what could not be exported."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (ImportError, OSError):
        raise
    except Exception as error:
        first = str(error).strip().splitlines() or [""]
        raise ExportError(f"{made.name} cannot be exported so: {type(error).__name__}: {first[0]}") from error


def _check_packages(to: Format) -> None:
    from importlib.util import find_spec

    wanted = ("onnx", "onnxruntime", "onnxscript") if to is Format.onnx else ()
    missing = [name for name in wanted if find_spec(name) is None]
    if missing:
        raise ExportError(f"the format onnx needs {', '.join(missing)}: pip install 'archspec-nas[export]'")
