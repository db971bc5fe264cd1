"""A program goes in; nothing comes out, or an error where an op does not take what the op before gives."""

from collections.abc import Iterator

from archspec import ir
from archspec.errors import Problem, SpecError
from archspec.ir import Branches, Feature, Op, Shape, Streams
from archspec.normal import Illegal
from archspec.resolve.joining import joined_target


def verify(program: ir.Program) -> None:
    """Raise SpecError unless shapes chain, branches give what they are joined to, and names are unique."""
    problems = list(_broken(program.ops, program.image))
    names = [f"{op.path}.{row.name}" for op in ir.walk(program.ops) for row in op.parameters]
    if len(set(names)) != len(names):
        problems.append(Problem("parameter names must be unique", path=program.name))
    if problems:
        raise SpecError(problems)


def _broken(ops: tuple[Op, ...], shape: Shape) -> Iterator[Problem]:
    for op in ops:
        if op.source != shape:
            yield Problem("an op takes the shape that the op before gives", f"{op.source}", op.path)
        if isinstance(op, ir.Residual):
            yield from _broken(op.ops, op.source)
            if op.ops and op.ops[-1].target != op.source:
                yield Problem("a residual branch must give the shape it takes", path=op.path)
        elif isinstance(op, Branches):
            yield from _broken_branches(op)
        shape = op.target


def _broken_branches(op: Branches) -> Iterator[Problem]:
    for number, branch in enumerate(op.branches):
        if not _can_feed(branch.feed, op.source):
            yield Problem("a branch takes what there is", f"{branch.feed} of {op.source}", op.path)
            continue
        taken = ir.fed(branch.feed, op.source)
        if op.cascade and number and branch.ops and op.branches[number - 1].target != taken:
            yield Problem("a cascade adds equal shapes", f"{op.branches[number - 1].target} to {taken}", op.path)
        yield from _broken(branch.ops, taken)
        given = branch.ops[-1].target if branch.ops else taken
        if given != branch.target:
            yield Problem("a branch gives what its last op gives", f"{branch.target} for {given}", op.path)
    yield from _broken_join(op)


def _broken_join(op: Branches) -> Iterator[Problem]:
    given = tuple(branch.target for branch in op.branches)
    if op.join == "streams":
        target: Shape = Streams(tuple(each for each in given if isinstance(each, Feature)))
    else:
        try:
            target = joined_target(op.join, given)
        except Illegal as illegal:
            yield Problem(illegal.rule, illegal.found, op.path)
            return
    if target != op.target:
        yield Problem("branches give what they are joined to", f"{op.target} for {target}", op.path)


def _can_feed(feed: ir.Feed, source: Shape) -> bool:
    if isinstance(feed, ir.Stream):
        return isinstance(source, Streams) and 0 <= feed.index < len(source.features)
    if isinstance(feed, ir.Channels):
        return isinstance(source, Feature) and 0 <= feed.start < feed.stop <= source.channels
    return True
