"""A program goes in; what each block's positions read of the image comes out, block by block.

With the weights as given, y = W x reads what W joins. `through_weights`, also what weights are made from counts: keys
of attention, a pooled image, the gate of squeeze-excite.

A field is a union over channels: what two ops join is taken as joined whatever channels lie between.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from archspec import ir
from archspec.draw.reach import Reach, composed, everything, identity, reach, united
from archspec.ir import Feature, Op, Program

Reaches = Reach | dict[int, Reach]
"""The field of the one map, or of each of several by number."""


def field_reaches(program: Program, through_weights: bool) -> dict[str, Reach]:
    """What each position reads of the image after the stem and after each block, by path."""
    return {path: read for path, _, read in block_reaches(program, through_weights)}


def block_reaches(program: Program, through_weights: bool) -> Iterator[tuple[str, int, Reach]]:
    """Path, stage and field after the stem (stage -1) and after each block; of several maps, of the first."""
    now: Reaches = identity(program.image)
    walked = _Walk(through_weights)
    here = ("stem", -1)
    for op in program.ops:
        place = _place(op.path)
        if place is None:
            break
        # Downsampling belongs to the block after it.
        if place != here and here[0] and not here[0].endswith("downsample"):
            yield (*here, _largest(now))
        here = place
        now = walked.step(op, now)
    yield (*here, _largest(now))


def _place(path: str) -> tuple[str, int] | None:
    """The block or part that an op belongs to and its stage; None in the head."""
    parts = path.split(".")
    if parts[0] == "stages":
        return ".".join(parts[: 4 if parts[2] == "blocks" else 3]), int(parts[1])
    return ("stem", -1) if parts[0] == "stem" else None


def _largest(now: Reaches) -> Reach:
    return now[0] if isinstance(now, dict) else now


@dataclass(frozen=True)
class _Walk:
    """Ops one after the other, as in archspec/reference/network.py, on fields in place of features."""

    through_weights: bool

    def ops(self, ops: tuple[Op, ...], now: Reaches) -> Reaches:
        for op in ops:
            now = self.step(op, now)
        return now

    def step(self, op: Op, now: Reaches) -> Reaches:
        if isinstance(op, ir.Branches):
            return self._branches(op, now)
        assert not isinstance(now, dict)
        if isinstance(op, ir.Residual):
            return united(*now, *_one(self.ops(op.ops, now)))
        return composed(reach(op, self.through_weights), now)

    def _branches(self, op: ir.Branches, now: Reaches) -> Reaches:
        results: list[Reach] = []
        for branch in op.branches:
            taken = now[branch.feed.index] if isinstance(branch.feed, ir.Stream) and isinstance(now, dict) else now
            if op.cascade and results and branch.ops:
                taken = united(*_one(taken), *results[-1])
            results.append(_one(self.ops(branch.ops, taken)))
        if op.join == "streams":
            return dict(enumerate(results))
        if op.join == "tokens":
            return results[1]
        assert isinstance(op.target, Feature)
        return united(*(p for result in results for p in self._on_map(result, op.join, op.target)))

    def _on_map(self, result: Reach, join: str, target: Feature) -> Reach:
        """A factor of a single position weighs every position alike: a weight, as the gate of squeeze-excite is."""
        shape = len(result[0].rows), len(result[0].columns)
        if join != "product" or shape == (target.height, target.width):
            return result
        spread = composed(_to_all(target), result)
        return spread if self.through_weights else ()


def _to_all(target: Feature) -> Reach:
    return everything(Feature(1, 1, target.channels), target)


def _one(now: Reaches) -> Reach:
    assert not isinstance(now, dict)
    return now
