"""A network goes in; the source of one readable file of plain PyTorch comes out, which builds it.

The file needs no archspec. Writing it needs no torch.
"""

import ast
import keyword
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version

from archspec import ir
from archspec.export.blocks import BlockClass, class_name, extracted
from archspec.export.definitions import definitions
from archspec.export.expression import WIDTH, Call, Expression, Leaf, Text, children, lines, one_line, rewritten, walk
from archspec.export.specialise import specialised
from archspec.export.tree import Stage, tree_of
from archspec.resolve import resolve
from archspec.schema.network import Network

MARK = "Written by archspec"
"""What the head of every such file says."""
MAPS = "Feature maps are (B, H, W, C): batch, height, width, channels{}."
TOKENS = "; once there is a class token, (B, 1, 1 + H * W, C)"
SPACES = (
    "A space says who reads whom: `lay_out` pads and rolls a map; of each of its L windows, `queries` are the K "
    "positions, (B, L, K, C), and `keys` the R positions that they read, (B, L, R, C); `join` makes one map again."
)
GROUPS = "G groups of channels have weights of their own (heads), D or M channels each."


@dataclass(frozen=True)
class StandAlone:
    """The source of a file, and the name of the class in it that is the network."""

    source: str
    name: str


def stand_alone(network: Network, weights: str | None = None) -> StandAlone:
    """The file of a network; `weights` names the checkpoint that its docstring says how to load.

    Raises SpecError where the network does not resolve.
    """
    program = resolve(network)
    tree = tree_of(program, network)
    every = [each for each in (tree.stem, *_of_stages(tree.stages), tree.head) if each is not None]
    names = {*definitions(), *keyword.kwlist, "nn", "torch", "F", "Tensor", "dataclass", "OrderedDict"}
    classes, forest = extracted(every, names)
    steps = [step for found in classes for step in found.steps]
    names |= {found.name for found in classes}
    own = class_name(network.name)
    own = own if own not in names else f"{own}Network"
    parts = [_without_defaults(each) for each in (*steps, *forest)]
    layers = specialised([*parts, Call("named")])
    parts = list(layers.calls[:-1])
    filled = [_with_steps(found, parts) for found in classes]
    body = list(_network(network, program, own, tree.stem is not None, tree.stages, parts))
    sources = [definition.source for definition in layers.definitions]
    sources += [found.source() for found in filled]
    code = _joined([*sources, "\n".join(body)])
    text = _docstring(network, program, own, weights, code) + "\n\n" + _imports(code) + _gap(code) + code + "\n"
    return StandAlone(text.replace("\n\n\n\n", "\n\n\n"), own)


def _gap(code: str) -> str:
    """What ruff wants between imports and code: less before a constant."""
    return "\n\n\n" if code.startswith(("class ", "def ", "@")) else "\n\n"


def _of_stages(stages: Sequence[Stage]) -> Iterator[Expression | None]:
    for stage in stages:
        yield stage.downsample
        yield from stage.blocks


def _with_steps(found: BlockClass, parts: list[Expression]) -> BlockClass:
    """The class with the first of the parts as its steps; they are taken out."""
    count = len(found.steps)
    steps, parts[:count] = tuple(parts[:count]), []
    return replace(found, steps=steps)


DEFAULTS = (("drop_path", Leaf(0.0, "drop_path")), ("shift", Leaf((0, 0), "shift")))


def _without_defaults(expression: Expression) -> Expression:
    """Without drop path that never drops, and shifts that move nothing."""
    expression = rewritten(expression, tuple(_without_defaults(child) for child in children(expression)))
    if not isinstance(expression, Call) or expression.name not in ("Residual", "ShortcutResidual", "Windows"):
        return expression
    return replace(expression, arguments=tuple(each for each in expression.arguments if each not in DEFAULTS))


def _joined(sources: Sequence[str]) -> str:
    """Definitions two lines apart, constants one after the other."""
    text = ""
    for source in sources:
        text += ("\n\n\n" if text else "") + source.strip("\n")
    return text


# ------------------------------------------------------------------ the network


def _network(
    network: Network,
    program: ir.Program,
    name: str,
    stem: bool,
    stages: Sequence[Stage],
    parts: list[Expression],
) -> Iterator[str]:
    remaining = iter(parts)
    first = next(remaining) if stem else None
    rates = network.drop_path > 0 and any(part for part in parts if _has_rate(part))
    blocks = sum(len(stage.blocks) for stage in stages)
    yield f"class {name}(nn.Module):"
    image = program.image
    shape = f"(B, {image.channels}, {image.height}, {image.width})"
    yield f'    """Images {shape} in, logits (B, {program.classes}) out."""'
    yield ""
    yield "    def __init__(self) -> None:"
    yield "        super().__init__()"
    if rates:
        yield f"        blocks = {blocks}"
        yield f"        rates = [{network.drop_path!r} * i / {max(1, blocks - 1)} for i in range(blocks)]  # drop path"
    if first is not None:
        yield from lines(first, 8, "self.stem = ")
    yield "        self.stages = nn.Sequential("
    number = 0
    for stage in stages:
        yield "            named("
        if stage.downsample is not None:
            yield from lines(next(remaining), 16, "downsample=", ",")
        inner = [_rated(next(remaining), number + n) if rates else next(remaining) for n in range(len(stage.blocks))]
        yield from _sequence(inner, number)
        yield "            ),"
        number += len(stage.blocks)
    yield "        )"
    yield from lines(next(remaining), 8, "self.head = ")
    yield ""
    yield "    def forward(self, image: Tensor) -> Tensor:"
    yield "        x = image.permute(0, 2, 3, 1)"
    if first is not None:
        yield "        x = self.stem(x)"
    yield "        return self.head(self.stages(x)).flatten(1)"


def _has_rate(expression: Expression) -> bool:
    return any(isinstance(each, Call) and isinstance(each.argument("drop_path"), Leaf) for each in walk(expression))


def _rated(expression: Expression, number: int) -> Expression:
    """The drop path of block `number` as an entry of the list of rates."""
    if not isinstance(expression, Call):
        return expression
    arguments = tuple(
        (keyword, Text(f"rates[{number}]") if keyword == "drop_path" else _rated(value, number))
        for keyword, value in expression.arguments
    )
    return replace(expression, arguments=arguments)


def _sequence(blocks: Sequence[Expression], first: int) -> Iterator[str]:
    """The blocks of a stage; those that repeat as a loop."""
    alone, period = _repeating(blocks, first)
    written = nn_sequential(blocks)
    if period and alone + period < len(blocks) and len(blocks) - alone > 2:
        yield "                blocks=nn.Sequential("
        for block in blocks[:alone]:
            yield from lines(block, 20, "", ",")
        yield from _loop(blocks[alone : alone + period], first + alone, first + len(blocks))
        yield "                ),"
    else:
        yield from lines(written, 16, "blocks=", ",")


def nn_sequential(blocks: Sequence[Expression]) -> Call:
    return Call("nn.Sequential", tuple((None, block) for block in blocks))


def _repeating(blocks: Sequence[Expression], first: int) -> tuple[int, int]:
    """How many blocks stand before those that repeat, and after how many they do; (0, 0): they do not."""
    for alone in (0, 1):
        for period in (1, 2, 3):
            rest = blocks[alone:]
            texts = [_looped(block, first + alone + n - n % period) for n, block in enumerate(rest)]
            whole = len(rest) % period == 0 and len(rest) > period
            if whole and all(texts[n] == texts[n % period] for n in range(len(rest))):
                return alone, period
    return 0, 0


def _looped(expression: Expression, start: int) -> Expression:
    """An expression with entries of the list of rates counted from where the loop is."""
    if isinstance(expression, Text) and expression.source.startswith("rates["):
        ahead = int(expression.source[6:-1]) - start
        return Text(f"rates[i + {ahead}]" if ahead else "rates[i]")
    return rewritten(expression, tuple(_looped(child, start) for child in children(expression)))


def _loop(blocks: Sequence[Expression], first: int, last: int) -> Iterator[str]:
    looped = [_looped(block, first) for block in blocks]
    counts = any("rates[i" in one_line(block) for block in looped)
    step = f", {len(blocks)}" if len(blocks) > 1 else ""
    start = f"{first}, " if first or step else ""
    over = f"for i in range({start}{last}{step})" if counts else f"for _ in range({(last - first) // len(blocks)})"
    if len(blocks) > 1:
        yield from ("                    *(", "                        block", f"                        {over}")
        yield "                        for block in ("
        for block in looped:
            yield from lines(block, 28, "", ",")
        yield from ("                        )", "                    ),")
        return
    whole = f"                    *({one_line(looped[0])} {over}),"
    if len(whole) <= WIDTH:
        yield whole
        return
    yield "                    *("
    yield from exploded(looped[0], 24)
    yield from (f"                        {over}", "                    ),")


def exploded(expression: Expression, indent: int) -> Iterator[str]:
    """A call with an argument a line, whether it would fit into one or not."""
    assert isinstance(expression, Call)
    yield " " * indent + expression.name + "("
    for name, value in expression.arguments:
        yield from lines(value, indent + 4, "" if name is None else f"{name}=", ",")
    yield " " * indent + ")"


# ------------------------------------------------------------------ the head of the file


def _docstring(network: Network, program: ir.Program, name: str, weights: str | None, code: str) -> str:
    checkpoint = weights or f"{network.name}.safetensors"
    about = f"{network.name}: {network.description}." if network.description else f"{network.name}."
    image = program.image
    told = [
        _wrapped(about.replace("..", ".")),
        "",
        *([_wrapped(f"Source: {network.source}.")] if network.source else []),
        _wrapped(f"{MARK} {_version()} (`archspec export`), digest {program.digest[:16]}."),
        "It needs PyTorch only; to load the checkpoint, safetensors:",
        "",
        "    from safetensors.torch import load_file",
        "",
        f"    network = {name}()",
        f'    network.load_state_dict(load_file("{checkpoint}"))',
        "    network.eval()",
        f"    logits = network(torch.rand(1, {image.channels}, {image.height}, {image.width}))",
        "",
        _wrapped(_legend(code)),
    ]
    text = "\n".join(told).replace("\\", "\\\\").replace('"""', "'''")
    return f'"""{text}\n"""'


def _legend(code: str) -> str:
    """What the letters in comments of the code stand for."""
    told = [MAPS.format(TOKENS if "class ClassToken(" in code else "")]
    told += [SPACES] if "def lay_out(" in code else []
    told += [GROUPS] if re.search(r"\bG\b", code) else []
    return " ".join(told)


def _wrapped(text: str) -> str:
    return "\n".join(textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False))


def _version() -> str:
    try:
        return version("archspec-nas")
    except PackageNotFoundError:
        return "(development)"


def _imports(code: str) -> str:
    """The imports that the code needs, in ruff's order."""
    used = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    first = [
        f"from {file} import {name}"
        for file, name in (("collections", "OrderedDict"), ("dataclasses", "dataclass"))
        if name in used
    ]
    second = ["import torch"] if "torch" in used else []
    second += ["import torch.nn.functional as F"] if "F" in used else []
    names = ", ".join(name for name in ("Tensor", "nn") if name in used)
    second.append(f"from torch import {names}")
    return "\n".join([*first, *([""] if first else []), *second])
