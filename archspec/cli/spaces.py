"""A search space goes in; what there is to know before searching it comes out: count, feasible share, cost, names."""

from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.progress import track

from archspec.cli.output import cell, print_table, say
from archspec.schema.load import names
from archspec.schema.located import LocatedDict
from archspec.schema.validation import validate
from archspec.search.space import count, feasible_share, load_space, named_points
from archspec.search.space.match import Match, Matching
from archspec.search.study import with_values

SHOWN_COSTS = ("params", "macs", "activation_bytes")


def summary(name_or_path: str, samples: int, seed: int, match: tuple[str, ...] = ()) -> dict[str, Any]:
    """The facts as plain data; with the words of a budget to match, of the networks scaled to it.

    Raises SpecError with every problem of the file or of the words.
    """
    space = written = load_space(name_or_path)
    if match:
        budget = validate(Match, with_values(LocatedDict(), match))
        space = replace(space, matching=Matching(budget))
    points, progress = count(space), Console(stderr=True)
    say(f"{space.name}: {points:,} points; drawing some of them, then looking for named networks")
    seen = feasible_share(space, samples, seed)
    named = track(
        names(), f"named networks in {space.name}", console=progress, transient=True, disable=not progress.is_terminal
    )
    return {
        "name": space.name,
        "points": points,
        "genes": len(space.genes),
        "digest": space.digest,
        "match": str(space.matching.match) if space.matching else None,
        "feasible": {
            "share": seen.share,
            "standard_error": seen.standard_error,
            "interval": seen.interval,
            "exact": seen.exact,
            "points_looked_at": seen.points,
            "seed": seen.seed,
            "illegal": {share.text: share.share for share in seen.illegal},
            "violated": {share.text: share.share for share in seen.violated},
        },
        "costs": {name: {"low": costs[0], "high": costs[-1]} for name in SHOWN_COSTS if (costs := seen.costs[name])},
        "named_points": sorted(named_points(written, among=named)),
        "axes": {axis: [g.name for g in space.genes if g.axis == axis] for axis in {g.axis for g in space.genes}},
    }


def print_summary(found: dict[str, Any]) -> None:
    """The facts for a person."""
    seen = found["feasible"]
    low, high = (100 * bound for bound in seen["interval"])
    error = "exact" if seen["exact"] else f"± {100 * seen['standard_error']:.1f} %, 95 % in {low:.1f} to {high:.1f} %"
    how = "all" if seen["exact"] else f"{seen['points_looked_at']:,} drawn with seed {seen['seed']}"
    rows: list[tuple[str, str]] = [
        ("points", f"{found['points']:,} (exact)"),
        ("genes", cell(found["genes"])),
        ("feasible", f"{100 * seen['share']:.1f} % ({error}; {how})"),
    ]
    rows += [("scaled to", found["match"])] if found["match"] else []
    rows += [(f"  break {text}", f"{100 * share:.1f} %") for text, share in seen["violated"].items()]
    rows += [(f"  illegal: {text}", f"{100 * share:.1f} %") for text, share in seen["illegal"].items()]
    rows += [(name, f"{cell(c['low'])} to {cell(c['high'])}") for name, c in found["costs"].items()]
    rows.append(("named networks inside", ", ".join(found["named_points"]) or "none"))
    print_table((found["name"], ""), rows)
