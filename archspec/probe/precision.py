"""A call that may ask for float32 goes in; it runs in float64: rounding would hide what is equal and what is zero."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

LOWER = (torch.float32, torch.float16, torch.bfloat16)
CASTS = (Tensor.float, Tensor.half, Tensor.bfloat16)


class InDouble(TorchFunctionMode):
    """Turns `x.float()`, `x.to(torch.float32)` and `dtype=torch.float32` into float64."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in CASTS:
            return args[0].double()
        given = {name: _double(each) for name, each in (kwargs or {}).items()}
        return func(*(_double(each) for each in args), **given)


def _double(given: Any) -> Any:
    return torch.float64 if isinstance(given, torch.dtype) and given in LOWER else given


@contextmanager
def in_double() -> Iterator[None]:
    """Also tensors that a module makes without naming a type are float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with InDouble():
            yield
    finally:
        torch.set_default_dtype(before)


def tensors_in_double(module: nn.Module) -> None:
    """Turns tensors that are plain attributes, which `module.double()` leaves, into float64 (in place)."""
    for part in module.modules():
        for name, value in list(vars(part).items()):
            if isinstance(value, Tensor) and value.dtype in LOWER and not isinstance(value, nn.Parameter):
                setattr(part, name, value.double())
