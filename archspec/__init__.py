"""archspec: a YAML spec of connectivity, sharing and weights goes in; a fast, trainable PyTorch network comes out.

    spec (YAML)  ->  program (ir)  ->  { reference | cost | plan -> kernels -> module }
    space + study (YAML)  ->  sample -> compile -> train -> store -> report

Everything public is here and is imported on first use: `import archspec` costs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from archspec.timm_names import register_with_timm

if TYPE_CHECKING:
    from archspec.api import compile as compile
    from archspec.api import cost as cost
    from archspec.api import digest as digest
    from archspec.api import load_timm_weights as load_timm_weights
    from archspec.errors import ArchspecError as ArchspecError
    from archspec.errors import SpecError as SpecError
    from archspec.probe import probe as probe
    from archspec.schema.load import load as load
    from archspec.schema.load import names as names
    from archspec.schema.network import Network as Network

__version__ = "0.1.0"

_HOMES = {
    "ArchspecError": "archspec.errors",
    "Network": "archspec.schema.network",
    "SpecError": "archspec.errors",
    "compile": "archspec.api",
    "cost": "archspec.api",
    "digest": "archspec.api",
    "load": "archspec.schema.load",
    "load_timm_weights": "archspec.api",
    "names": "archspec.schema.load",
    "probe": "archspec.probe",
}
__all__ = [  # noqa: RUF022 (in the order of use)
    "load",
    "names",
    "compile",
    "cost",
    "digest",
    "load_timm_weights",
    "probe",
    "Network",
    "ArchspecError",
    "SpecError",
]

register_with_timm()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'archspec' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
