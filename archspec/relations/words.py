"""An op goes in; what it is in plain words comes out: the three axes of a connection, one line for anything else."""

from archspec import ir
from archspec.relations.signature import connection_axes

_NAMES = {
    # weights, channels separate: what people call it, over a part of the map and over all of it
    ("static", True): ("depth-wise convolution", "token mixing"),
    ("pooled", True): ("dynamic depth-wise convolution", "dynamic token mixing"),
    ("local", True): ("inhomogeneous dynamic convolution", "inhomogeneous dynamic token mixing"),
    ("attention", True): ("local attention", "attention"),
    ("outlook", True): ("outlook attention", "outlook attention"),
    ("static", False): ("convolution", "fully connected layer"),
    ("pooled", False): ("dynamic convolution", "dynamic fully connected layer"),
}
_SPACES = {
    "point": "only itself",
    "sliding": "{size} positions around it",
    "window": "the {size} window it stands in",
    "halo": "the {size} positions of its window",
    "grid": "{size} positions spread evenly over the map",
    "cross": "its row and its column",
    "pooled": "a map made {size} times smaller",
    "full": "every position",
}
_SOURCES = {
    "static": "weights are parameters",
    "pooled": "weights are predicted from the mean of the image: one set per image (homogeneous)",
    "local": "weights are predicted at each position from what stands there (inhomogeneous)",
    "attention": "weights are predicted from pairs of positions: query times key",
    "outlook": "weights are predicted at each position for its whole window",
}


def connection_name(op: ir.Connect) -> str:
    """What people call a connection: local attention over shifted 7x7 windows."""
    axes = connection_axes(op)
    separate = op.channels == "separate"
    local, whole = _NAMES[axes["weights"], separate]
    if axes["space"] == "point":
        return _pointwise(op, axes)
    if axes["space"] in ("full", "pooled"):
        name = f"pyramid {whole}" if axes["space"] == "pooled" else whole
        return f"{name} to a {axes['size']} times smaller map" if axes["space"] == "pooled" else f"{name} over the map"
    if axes["space"] == "sliding":
        grouped = "grouped " if op.channels == "groups" else ""
        return f"{grouped}{local} {axes['size']}" + (f", {axes['placed']}" if axes["placed"] else "")
    if axes["weights"] == "static":
        local = "static local mixing" if separate else "static local layer"
    if axes["space"] == "cross":
        return f"{local} over row and column"
    shifted = "shifted " if "shifted" in axes["placed"] else ""
    what = {"window": "windows", "halo": "windows with a halo", "grid": "interlaced windows"}.get(axes["space"])
    return f"{local} over {shifted}{axes['size']} {what}" if what else f"{local} over the {axes['space']}"


def _pointwise(op: ir.Connect, axes: dict[str, str]) -> str:
    if op.channels == "separate":
        return "a factor for each channel" if axes["weights"] == "static" else "a predicted factor for each channel"
    name = "linear" if axes["weights"] == "static" else "dynamic linear"
    grouped = f" in groups of {op.source.channels // op.channel_groups}" if op.channels == "groups" else ""
    if op.source.channels == op.target.channels:
        return f"{name}{grouped}, {op.source.channels} channels"
    return f"{name}{grouped}, {op.source.channels} → {op.target.channels} channels"


def connection_words(op: ir.Connect) -> tuple[str, str, str]:
    """Connectivity, sharing and weights of a connection, a phrase each."""
    axes = connection_axes(op)
    return _connectivity(op, axes), _sharing(op, axes), _weights(op, axes)


def _connectivity(op: ir.Connect, axes: dict[str, str]) -> str:
    space = _SPACES.get(axes["space"], f"its {axes['space']}").format(size=axes["size"])
    placed = f" ({axes['placed']})" if axes["placed"] else ""
    channels = {"separate": "in its own channel", "full": "in all channels"}.get(
        op.channels, f"in its group of {op.source.channels // op.channel_groups} channels"
    )
    return f"each position reads {space}{placed}, {channels}"


def _sharing(op: ir.Connect, axes: dict[str, str]) -> str:
    dynamic = axes["weights"] in ("attention", "local", "outlook")
    positions = {
        "offsets": "every position has the same weights",
        "windows": "every window has the same weights",
        "none": "every position has weights of its own" + (", from one predictor" if dynamic else ""),
    }[op.share_positions]
    if op.channels != "separate":
        return positions + (", every group of channels too" if op.share_channels == "all" else "")
    width = op.source.channels // op.kernels
    heads = "heads" if axes["weights"] in ("attention", "outlook") else "groups"
    if op.share_channels == "all":
        return f"{positions}, shared by all channels"
    if width == 1:
        return f"{positions}, every channel too"
    return f"{positions}, shared within {_count(op.kernels, heads)} of {width} channels"


def _count(number: int, plural: str) -> str:
    return f"{number} {plural}" if number != 1 else f"1 {plural.removesuffix('s')}"


def _weights(op: ir.Connect, axes: dict[str, str]) -> str:
    source = _SOURCES[axes["weights"]]
    if isinstance(op.weights, ir.Attention):
        return source + "".join(_attention_terms(op.weights))
    if isinstance(op.weights, ir.Static | ir.Predicted) and op.weights.normalise:
        return f"{source}, after a softmax"
    return source


def _attention_terms(weights: ir.Attention) -> list[str]:
    terms = {
        ", after a softmax": weights.softmax,
        ", plus a bias for each relative position (Eq. 21)": weights.relative_bias,
        ", plus a linear function of the query for each offset (Eq. 22)": weights.centre,
        ", convolved over what is read (Eq. 23)": bool(weights.post_convolution),
        ", of features convolved before (Eq. 24, 25)": weights.pre_convolution is not None,
        ", mixed over heads": weights.mix_heads,
    }
    return [text for text, there in terms.items() if there]


def op_words(op: ir.Op) -> str:
    """Anything but a connection, in a line."""
    if isinstance(op, ir.Norm):
        return f"{op.kind} norm" + (" with centring" if op.centring else "")
    if isinstance(op, ir.Activation):
        return op.kind
    if isinstance(op, ir.Gather):
        return f"{op.size}x{op.size} patches become channels"
    if isinstance(op, ir.Pool):
        return "the class token alone" if op.kind == "class_token" else f"the {op.kind} of the map"
    if isinstance(op, ir.SlidingPool):
        size, stride = ("x".join(map(str, pair)) for pair in (op.space.size, op.space.stride))
        return f"the {op.kind} of {size} positions, stride {stride}"
    if isinstance(op, ir.Resize):
        return f"resized to {op.target.height}x{op.target.width} ({op.kind})"
    if isinstance(op, ir.Multiply):
        return f"times {op.factor:g}"
    fixed = {
        "Scale": "a learned factor for each channel",
        "ClassToken": "a class token is put before the map",
        "PositionEmbedding": "plus a learned feature for each position",
        "MapOnly": "the map without its class token",
        "Shuffle": "channels of the groups interleaved",
    }
    return fixed.get(type(op).__name__, op.facts())
