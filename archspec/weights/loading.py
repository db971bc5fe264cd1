"""A state dict of timm or torchvision goes in; the same weights are in our module.

Our parameters were laid out so that loading is renaming and, at times, joining: shapes differ by how axes are split.
"""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from archspec import ir
from archspec.errors import WeightsError
from archspec.module import Network
from archspec.weights.families import FAMILIES
from archspec.weights.names import Family, Row, rows

_COUNTERS = r".*\.num_batches_tracked"


def load_timm_weights(module: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Copy the weights of timm's (or torchvision's) network of the same architecture into a compiled network.

    Raises:
        WeightsError: another family or architecture, a tensor missing, left over or of another shape. The module is
            then as it was.
    """
    if not isinstance(module, Network):
        raise WeightsError(f"weights load into a compiled network, found {type(module).__name__}")
    family = _family(state_dict)
    table = ir.parameter_table(module.program)
    pairs = dict(_pairs(family, table, state_dict, module.program.name))
    _check_names(pairs, family, state_dict, module.program.name)
    wrong = [
        f"{ours} {table[ours].shape} from {' + '.join(theirs)} {_joined_shape(theirs, state_dict)}"
        for ours, theirs in pairs.items()
        if not _fits(table[ours].shape, _joined_shape(theirs, state_dict))
    ]
    if wrong:
        raise WeightsError(f"shapes differ ({len(wrong)} tensors), first: {'; '.join(wrong[:3])}")
    own = module.state_dict()
    with torch.no_grad():
        for ours, theirs in pairs.items():
            parts = [state_dict[name] for name in theirs]
            own[ours].copy_((torch.cat(parts) if len(parts) > 1 else parts[0]).reshape(table[ours].shape))


def _family(state_dict: Mapping[str, Tensor]) -> Family:
    for family in FAMILIES.values():
        if family.marker in state_dict:
            return family
    raise WeightsError(f"not a state dict of timm's {', '.join(FAMILIES)}; first names: {list(state_dict)[:3]}")


def _check_names(pairs: Mapping[str, Row], family: Family, state_dict: Mapping[str, Tensor], name: str) -> None:
    used = [theirs for row in pairs.values() for theirs in row]
    missing = [theirs for theirs in used if theirs not in state_dict]
    ignored = re.compile(f"{family.ignored}|{_COUNTERS}")
    left = [theirs for theirs in state_dict if theirs not in set(used) and not ignored.fullmatch(theirs)]
    if missing or left:
        raise _another(name, f"missing: {_first(missing)}", f"left over: {_first(left)}")


def _another(name: str, *found: str) -> WeightsError:
    return WeightsError("\n    ".join([f"timm's weights are of another architecture than {name}", *found]))


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) or "none"


def _pairs(
    family: Family, table: Mapping[str, ir.Parameter], state_dict: Mapping[str, Tensor], name: str
) -> Iterator[tuple[str, Row]]:
    """Our names with theirs, part by part: the parts are read off our names, their order is the table's."""
    parts: dict[str, list[str]] = {}
    for ours in table:
        found = re.match(r"(stages\.\d+\.(downsample|blocks\.\d+)|stem|head)\.", ours)
        parts.setdefault(found.group(1) if found else ours, []).append(ours)
    number = 0
    for part, own in parts.items():
        theirs = rows(family, part, number, state_dict)
        number += ".blocks." in part
        if len(own) != len(theirs):
            absent = [each for row in theirs for each in row if each not in state_dict]
            counts = f"{part} has {len(own)} parameters here and {len(theirs) - len(absent)} there"
            raise _another(name, counts, f"missing: {_first(absent)}")
        yield from zip(own, theirs, strict=True)


def _joined_shape(row: Row, state_dict: Mapping[str, Tensor]) -> tuple[int, ...]:
    shapes = [tuple(state_dict[name].shape) for name in row]
    if len(shapes) == 1 or any(shape[1:] != shapes[0][1:] for shape in shapes):
        return shapes[0]
    return (sum(shape[0] for shape in shapes), *shapes[0][1:])


def _fits(ours: tuple[int, ...], theirs: tuple[int, ...]) -> bool:
    """Whether one shape is the other with axes merged or split: they are cut at the same places of the memory."""
    fewer, more = sorted((_cuts(ours), _cuts(theirs)), key=len)
    return fewer[:1] == more[:1] and set(fewer) <= set(more)


def _cuts(shape: tuple[int, ...]) -> list[int]:
    """How many elements lie in each axis and those after it, without axes of one; at least the number of all."""
    sizes = [size for size in shape if size != 1] or [1]
    return list(itertools.accumulate(reversed(sizes), lambda a, b: a * b))[::-1]
