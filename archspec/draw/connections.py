"""A network goes in; the connections worth a picture come out, and the network at a size at which they are legible."""

from dataclasses import dataclass, replace

from archspec.errors import Problem, SpecError, nearest
from archspec.ir import Connect, Pair, Point, Program, Sliding, Window, walk
from archspec.resizing.networks import resized
from archspec.resolve import resolve
from archspec.schema.network import Network

FEWEST, MOST = 8, 28
"""Positions along a side of a map whose connection matrix is still read with the eye."""


@dataclass(frozen=True)
class Drawn:
    """A connection of a network, both resolved at the input size at which it is drawn."""

    program: Program
    connection: Connect
    own_size: Pair

    @property
    def place(self) -> str:
        """Where it stands and how large its map is, for a caption."""
        image, source = self.program.image, self.connection.source
        text = f"{self.connection.path}, map {source.height}×{source.width}, input {image.height}×{image.width}"
        height, width = self.own_size
        return text if (image.height, image.width) == self.own_size else f"{text} (its own: {height}×{width})"


def drawn(network: Network, path: str, size: Pair | None = None) -> Drawn:
    """The connection at `path` with the network at `size`, or at the smallest size at which it is still itself.

    Raises SpecError where no connection has that path (all of a block may be meant by a prefix of one only), or the
    network does not stand at `size`.
    """
    own = network.input.height_width
    connection = chosen(resolve(network), path)
    for attempt in [size] if size else _sizes(own, connection):
        try:
            program = resolve(network if attempt == own else resized(network, attempt, name=network.name))
        except SpecError:
            if attempt in (size, own):
                raise
            continue
        found = {op.path: op for op in walk(program.ops)}.get(path)
        if isinstance(found, Connect) and (size or _alike(found, connection)):
            return Drawn(program, found, own)
    rule = f"a connection that exists at input {size}" if size else f"a connection of {network.name}"
    raise SpecError([Problem(rule, path, network.name)])


def chosen(program: Program, path: str) -> Connect:
    """The connection with this path. Raises SpecError, with the nearest paths."""
    connections = {op.path: op for op in walk(program.ops) if isinstance(op, Connect)}
    if path not in connections:
        rule = (
            f"--connection names a connection of {program.name}; `archspec show {program.name} --stage ir` lists them"
        )
        raise SpecError([Problem(rule, path, nearest=nearest(path, connections))])
    return connections[path]


def distinct(program: Program) -> tuple[Connect, ...]:
    """The first connection of each kind that reads more than its own position: those in blocks, if there are any."""
    reading = [op for op in walk(program.ops) if isinstance(op, Connect) and not isinstance(op.space, Point)]
    inside = [op for op in reading if ".blocks." in op.path] or reading
    kinds: dict[tuple[object, ...], Connect] = {}
    for op in inside:
        kinds.setdefault((op.space, op.channels, op.share_positions, op.share_channels, type(op.weights)), op)
    return tuple(kinds.values())


def _sizes(own: Pair, connection: Connect) -> list[Pair]:
    """Input sizes from one at which the map is as small as two windows, up to the network's own."""
    sides = []
    for axis, (length, positions) in enumerate(
        zip(own, (connection.source.height, connection.source.width), strict=True)
    ):
        wanted = min(max(2 * _extent(connection, axis), FEWEST), MOST)
        stride = max(length // positions, 1)
        sides.append([min(stride * wanted * factor, length) for factor in (1, 2)])
    return list(dict.fromkeys([*zip(*sides, strict=True), own]))


def _extent(connection: Connect, axis: int) -> int:
    space = connection.space
    return space.size[axis] if isinstance(space, Window | Sliding) else 7


def _alike(found: Connect, connection: Connect) -> bool:
    """Whether only the size of the map differs."""
    return replace(found, source=connection.source, target=connection.target) == connection
