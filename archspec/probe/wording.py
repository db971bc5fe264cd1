"""Facts go in; words and plain data for people and programs come out (no torch)."""

from dataclasses import asdict
from typing import Any

from archspec.probe.facts import Channels, Dependence, Equivariance, Facts, Hole, Part, Report, Ties

MOST_HOLES = 12


def as_data(report: Report) -> dict[str, Any]:
    """A report as JSON holds it. Footprints are those of every measured position."""
    return asdict(report)


def rows_of(facts: Facts) -> list[tuple[str, str]]:
    """(what, found) of one module, in the order of the axes."""
    rows = [
        ("map", f"{facts.source} -> {facts.target}"),
        ("reads (space)", str(facts.space)),
        ("reads (channels)", channels_words(facts.channels)),
        ("equal over positions", _positions_words(facts.ties)),
        ("equal over channels", _channel_ties_words(facts.ties)),
        ("weights", dependence_words(facts.dependence)),
        ("moves with", equivariance_words(facts.equivariance)),
    ]
    rows += [(f"channels {ranges(part.channels)}", part_words(part)) for part in facts.parts]
    if facts.holes:
        rows.append(("holes", "; ".join(map(hole_words, facts.holes[:MOST_HOLES])) + _more(len(facts.holes))))
    if facts.row is not None:
        unlike = f", but {'; '.join(facts.row.differences)}" if facts.row.differences else ""
        rows.append(("row of Table 1", facts.row.layer + unlike))
    if facts.nearest is not None:
        rows.append(("nearest spec", facts.nearest.yaml.rstrip()))
        edits = [f"{edit.axis}: {edit.measured} -> {edit.spec}" for edit in facts.nearest.edits]
        rows.append(("axis edits away", f"{len(edits)}" + (f" ({'; '.join(edits)})" if edits else "")))
    rows.append(("measured", _evidence_words(facts)))
    rows += [("note", note) for note in facts.notes]
    return rows


def summary_row(facts: Facts) -> tuple[str, ...]:
    """One line of a network: path, space, channels, ties, weights, row of Table 1."""
    ties = f"{facts.ties.positions} / {facts.ties.channels}"
    row = (
        "-"
        if facts.row is None
        else facts.row.layer + ("" if facts.row.exact else f" ({len(facts.row.differences)} off)")
    )
    holes = f", {len(facts.holes)} holes" if facts.holes else ""
    holes += f", {len(facts.parts)} groups of channels differ" if facts.parts else ""
    moves = equivariance_words(facts.equivariance).partition(" (")[0]
    return facts.path, f"{facts.space}{holes}", facts.channels.kind, ties, facts.dependence.words, moves, row


SUMMARY_COLUMNS = (
    "path",
    "space",
    "channels",
    "equal over positions / channels",
    "weights",
    "moves with",
    "row of Table 1",
)


def part_words(part: Part) -> str:
    """Channels that read other positions than the rest, in one line."""
    facts = part.facts
    row = "no row" if facts.row is None else facts.row.layer + ("" if facts.row.exact else " (nearest)")
    parts = (str(facts.space), channels_words(facts.channels), dependence_words(facts.dependence), row)
    return f"read {ranges(part.reads)}: " + "; ".join(parts)


def channels_words(channels: Channels) -> str:
    words: str = channels.kind
    if channels.kind == "groups":
        words = f"{len(channels.groups)} groups"
    if channels.permuted:
        words += ", in another order than they are written"
    if channels.projected:
        words += ", between fixed projections that mix them"
    return words


def _positions_words(ties: Ties) -> str:
    words = {
        "none": "no",
        "all": "all that a position reads",
        "offsets": "equal offsets",
        "windows": "equal places in windows",
        "rows": "equal offsets, inside each row of the map only",
        "columns": "equal offsets, inside each column of the map only",
        "outputs": "all that one position reads",
        "inputs": "all that read one position",
    }
    odd = f", except at {_listed(ties.odd_positions)}" if ties.odd_positions else ""
    odd += ", away from the border" if ties.border else ""
    mirrors = {"left-right": "left and right", "up-down": "up and down", "point": "through its middle"}
    alike = " and ".join(mirrors[each] for each in ties.mirrored)
    return words.get(ties.positions, ties.positions) + odd + (f"; the kernel is mirrored {alike}" if alike else "")


def _channel_ties_words(ties: Ties) -> str:
    if ties.channels == "all":
        return "all"
    groups = [f"{{{ranges(group)}}}" for group in ties.channel_groups]
    shown = ", ".join(groups[:MOST_HOLES]) + _more(len(groups))
    return f"in {len(groups)} groups: {shown}" if ties.channels == "groups" else f"no, but {shown}" if groups else "no"


def dependence_words(found: Dependence) -> str:
    if found.choice:
        return "each channel takes the value of one position, which one changes with the input (a maximum or a choice)"
    words: str = found.words
    reads = {
        "image": "made from the whole image",
        "centre": "made from the position itself",
        "neighbourhood": "made from the positions around",
        "pair": "made from pairs of positions" + (", normalised over what is read" if found.normalised else ""),
    }.get(found.reads)
    words += f", {reads}" if reads else ""
    if found.channels is not None:
        words += f", only in channels {ranges(found.channels)}"
    if found.dimensions is not None:
        words += f", only in {found.dimensions} dimensions of the output"
    return words + (", with functions of single positions around it" if found.elementwise else "")


def equivariance_words(found: Equivariance) -> str:
    if found.kind == "any":
        return "any shift"
    if found.kind == "blocks" and found.period is not None:
        return f"shifts by {found.period[0]} down, {found.period[1]} across only"
    if found.kind == "axis" and found.period is not None:
        down, across = found.period
        return f"shifts by {down or across} {'down' if down else 'across'} only, none {'across' if down else 'down'}"
    return "no shift" if found.kind == "none" else f"not known ({found.remark})"


def hole_words(hole: Hole) -> str:
    of = f" (channels {ranges(hole.channels)})" if hole.channels else ""
    if hole.kind == "output":
        return f"{hole.output} reads nothing{of}"
    if hole.kind == "input":
        return f"nothing reads {hole.input}{of}"
    if hole.kind == "channel":
        return f"channels {ranges(hole.channels)} read nothing"
    if hole.kind == "unread":
        return f"nothing reads incoming channels {ranges(hole.channels)}"
    return f"{hole.output} {'also reads' if hole.kind == 'extra' else 'does not read'} {hole.input}{of}"


def ranges(numbers: tuple[int, ...]) -> str:
    """(0, 1, 2, 7) as 0-2, 7."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def _listed(items: tuple[object, ...]) -> str:
    return ", ".join(map(str, items[:MOST_HOLES])) + _more(len(items))


def _more(count: int) -> str:
    return f" and {count - MOST_HOLES} more" if count > MOST_HOLES else ""


def _evidence_words(facts: Facts) -> str:
    found = facts.evidence
    drawn = f", parameters drawn anew: {_listed(found.redrawn)}" if found.redrawn else ""
    share = f"{found.positions:,} of {found.positions_of:,} output positions"
    return f"{share}, {found.inputs} inputs of seed {found.seed}, equal up to {found.tolerance:g}{drawn}"
