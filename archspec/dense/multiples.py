"""A network and an image size go in; the ops of its branches on maps padded to whole multiples come out. No torch.

The released backbones of DW-Conv. and D-DW-Conv. for dense tasks pad the map with zeros to a multiple of 7 before each
mixing branch and cut its result (github.com/Atten4Vis/DemystifyLocalViT; kept from Swin). The multiply-adds that the
paper prints for them count what is padded; those of I-Dynamic do not.
"""

from archspec import ir
from archspec.errors import Problem, SpecError
from archspec.ir import Feature, Pair
from archspec.resolve import resolve
from archspec.schema.network import Network


def at_size(network: Network, size: Pair) -> ir.Program:
    """The program for images of another height and width. Raises SpecError where the network cannot stand there."""
    return resolve(network.model_copy(update={"input": network.input.model_copy(update={"size": size})}))


def mixes(op: ir.Op) -> bool:
    """Whether this is a residual branch in which positions read other positions."""
    inner = ir.walk(op.ops) if isinstance(op, ir.Residual) else ()
    return any(isinstance(each, ir.Connect) and not isinstance(each.space, ir.Point) for each in inner)


def padded_images(program: ir.Program, multiple: int) -> dict[str, Pair]:
    """Of each mixing branch of a stage whose map is padded: the image size at which its map is as large as that."""
    sizes: dict[str, Pair] = {}
    for op in program.ops:
        source = op.source
        if not op.path.startswith("stages.") or not isinstance(source, Feature) or not mixes(op):
            continue
        wanted = tuple(-(-extent // multiple) * multiple for extent in (source.height, source.width))
        if wanted != (source.height, source.width):
            strides = round(program.image.height / source.height), round(program.image.width / source.width)
            sizes[op.path] = (wanted[0] * strides[0], wanted[1] * strides[1])
    return sizes


def padded_branch(program: ir.Program, path: str, like: ir.Op, multiple: int) -> ir.Residual:
    """The branch in the program of the larger image. Raises SpecError where its map is not the padded one."""
    found = next(op for op in program.ops if op.path == path)
    assert isinstance(found, ir.Residual)
    assert isinstance(like.source, Feature)
    extents = ((like.source.height, found.source.height), (like.source.width, found.source.width))
    if any(-(-extent // multiple) * multiple != padded for extent, padded in extents):
        rule = f"maps are padded to multiples of {multiple} where a larger image gives a map of that size"
        raise SpecError([Problem(rule, f"{like.source} would be {found.source}", path)])
    return found
