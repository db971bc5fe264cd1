"""Options go in and are refused where there are no such; the parts that other libraries give come out, or an error
that says how to install them.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from archspec.errors import DenseError


def require(holds: bool, rule: str, found: object) -> None:
    """Raise DenseError, which says the rule and what was found, where the rule does not hold."""
    if not holds:
        raise DenseError(f"{rule}; found {found!r}")


def upernet_pieces() -> tuple[Any, Any, Any]:
    """transformers' UperNetConfig, UperNetHead and UperNetFCNHead."""
    try:
        from transformers import UperNetConfig
        from transformers.models.upernet.modeling_upernet import UperNetFCNHead, UperNetHead
    except ImportError as error:
        raise _missing("UPerNet", "transformers", error) from error
    return UperNetConfig, UperNetHead, UperNetFCNHead


def require_torchvision() -> None:
    """Raise DenseError without torchvision."""
    try:
        import torchvision  # noqa: F401
    except ImportError as error:
        raise _missing("Cascade Mask R-CNN", "torchvision", error) from error


@contextmanager
def drawn(seed: int | None, device: torch.device | str | None) -> Iterator[None]:
    """Modules made inside have their parameters there, and draw them from this seed (None: torch's generator)."""
    with ExitStack() as stack:
        if device is not None:
            stack.enter_context(torch.device(device))
        if seed is not None:
            stack.enter_context(torch.random.fork_rng())
            torch.manual_seed(seed)
        yield


def _missing(what: str, library: str, error: ImportError) -> DenseError:
    return DenseError(f'{what} needs {library} ({error}): pip install "archspec-nas[dense]"')
