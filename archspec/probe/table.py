"""What was measured goes in; the row of Table 1 of arXiv 2106.04263 that it is, or is nearest to, comes out.

The rows are those of the paper's Table 1 and Appendix A, as resolved from its sections 2.3 to 2.5 and Eq. 8 to 15.
`spatial` says how sparse W is over positions: none (every position is read), non-local (only a window is), full (only
itself is). `channel` says whether channels are separate.
"""

from dataclasses import replace

from archspec.probe.facts import Channels, Dependence, Space, TableRow, Ties

STATIC, PAIRS = "static", "dynamic pairwise"
ROWS: tuple[TableRow, ...] = (
    TableRow("MLP", "none", "none", "none", STATIC, "vector"),
    TableRow("Low-rank MLP", "low rank", "low rank", "none", STATIC, "vector"),
    TableRow("Conv.", "non-local", "none", "positions", STATIC, "vector"),
    TableRow("1x1 Conv.", "full", "none", "positions", STATIC, "vector"),
    TableRow("Channel-separable MLP", "none", "yes", "channels", STATIC, "vector"),
    TableRow("Attention", "none", "yes", "channels", PAIRS, "set"),
    TableRow("Local attention", "non-local", "yes", "channels", PAIRS, "set"),
    TableRow("Depth-wise conv.", "non-local", "yes", "positions", STATIC, "vector"),
    TableRow("Dynamic depth-wise conv.", "non-local", "yes", "positions", "dynamic homogeneous", "vector"),
    TableRow("Inhomogeneous dynamic conv.", "non-local", "yes", "channels", "dynamic inhomogeneous", "vector"),
    TableRow("Separable MLP", "none", "Kronecker", "channels", STATIC, "vector"),
    TableRow("Pyramid", "low rank", "none", "positions", STATIC, "vector"),
    TableRow("Criss-cross attention", "Kronecker of x and y axes", "yes", "channels", PAIRS, "set"),
    TableRow("Interlaced attention", "Kronecker of windows", "yes", "channels", PAIRS, "set"),
)
COLUMNS = ("spatial", "channel", "sharing", "weights", "representation")


def table_row(space: Space, channels: Channels, ties: Ties, dependence: Dependence, low_rank: str) -> TableRow | None:
    """The nearest row, with the columns in which the module differs; None where nothing is known of its weights.

    low_rank: "" or what W has a low rank over: "space", or "all" (positions and channels together).
    """
    measured = columns(space, channels, ties, dependence, low_rank)
    if dependence.kind == "unknown":
        return None

    def differing(row: TableRow) -> tuple[str, ...]:
        pairs = ((name, measured[name], getattr(row, name)) for name in COLUMNS)
        return tuple(f"{name}: {ours} (row: {theirs})" for name, ours, theirs in pairs if ours != theirs)

    best = min(ROWS, key=lambda row: (len(differing(row)), measured["weights"] != row.weights))
    return replace(best, differences=differing(best))


def columns(space: Space, channels: Channels, ties: Ties, dependence: Dependence, low_rank: str) -> dict[str, str]:
    """What was measured in the words of the table's columns."""
    spatial = {
        "full": "none", "causal": "none", "pooled": "none", "mean": "none", "point": "full",
        "cross": "Kronecker of x and y axes", "grid": "Kronecker of windows",
    }.get(space.kind, "non-local")  # fmt: skip
    separate = channels.kind == "separate"
    channel: str = "yes" if separate else "none" if channels.kind == "full" else channels.kind
    if separate and channels.projected and dependence.kind == "static" and ties.channels == "all":
        channel = "Kronecker"
    elif separate and channels.projected and dependence.kind == "static":
        channel = "between projections"
    if low_rank:
        spatial = "low rank"
        channel = "low rank" if low_rank == "all" else channel
    over_positions = ties.positions in ("offsets", "windows", "all")
    sharing = "positions" if over_positions else "channels" if ties.channels != "none" else "none"
    pairs = dependence.kind == "attention"
    return {
        "spatial": spatial,
        "channel": channel,
        "sharing": sharing,
        "weights": dependence.words,
        "representation": "set" if pairs else "vector",
    }
