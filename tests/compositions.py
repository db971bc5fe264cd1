"""A name goes in; a small network as YAML comes out: one for each way in which the language composes."""

from archspec import ir
from archspec.resolve import resolve
from archspec.schema.load import network_from
from archspec.schema.source import read_text


def conv(size: int, width: int | str = "", stride: int = 1, channels: str = "full") -> str:
    """A convolution without bias, as a step in YAML."""
    wide = f", width: {width}" if width else ""
    return (
        f"{{connect: {{connectivity: {{space: {{sliding: {{size: {size}, stride: {stride}}}}}, channels: {channels}}}, "
        f"sharing: {{positions: offsets}}, weights: static, bias: false{wide}}}}}"
    )


def _network(stage: str, blocks: str, head: str = "{}", stem: str = "", size: str = "[12, 20]") -> str:
    start = f"archspec: 1\nname: probe\ninput: {{size: {size}, channels: 4}}\nclasses: 5\ninit: fan\n"
    return f"{start}{f'stem: {stem}' if stem else ''}\nstages:\n  - {stage}\nhead: {head}\nblocks:\n{blocks}"


DEPTHWISE, DEPTHWISE_DOWN = conv(3, channels="separate"), conv(3, stride=2, channels="separate")
NETWORKS = {
    "bottleneck": _network(
        "{width: 16, depth: 2, first: down, block: plain}",
        f"""
  down:
    - residual:
        branch:
          - sequence: [{conv(1, 6)}, norm: batch, act: relu, {conv(3, 6, 2)}, norm: batch, act: relu]
          - sequence: [{conv(1, "stage")}, norm: batch]
        shortcut: [{conv(1, "stage", 2)}, norm: batch]
    - act: relu
  plain:
    - residual: [{conv(1, 6)}, norm: batch, act: relu, {conv(1, "stage")}, norm: batch]
    - act: relu
""",
    ),
    "cascade": _network(
        "{width: 12, depth: 1, block: res2net}",
        f"""
  conv: [{conv(3)}, norm: batch, act: relu]
  res2net:
    - linear: {{width: 12}}
    - split: {{cascade: true, branches: [[block: conv], [block: conv], [block: conv], []]}}
    - linear: {{}}
""",
    ),
    "shuffle": _network(
        "{width: 12, depth: 2, first: down, block: unit}",
        f"""
  down:
    - parallel:
        join: concat
        branches:
          - [{DEPTHWISE_DOWN}, norm: batch, linear: {{width: 6}}, act: relu]
          - [linear: {{width: 6}}, act: relu, {DEPTHWISE_DOWN}, norm: batch]
    - shuffle: 2
  unit:
    - split:
        sizes: [5, 7]
        branches:
          - []
          - [linear: {{}}, act: relu6, {DEPTHWISE}, norm: batch]
    - shuffle: 3
""",
    ),
    "gates": _network(
        "{width: 8, depth: 1, block: excited}",
        f"""
  excited:
    - {conv(3, 8)}
    - norm: {{batch: {{centring: true, eps: 0.001}}}}
    - gate: [pool: mean, linear: {{width: 2}}, act: silu, linear: {{width: stage}}, act: sigmoid]
    - gate: [linear: {{width: 1}}, act: hardswish]
    - gate: [pool: {{mean: {{size: 4, stride: 4}}}}, linear: {{}}, resize: nearest, act: sigmoid]
""",
    ),
    "spatial gate": _network(
        "{width: 6, depth: 1, block: gmlp}",
        """
  gmlp:
    - residual:
        - norm: layer
        - linear: {width: 16}
        - act: gelu
        - split:
            join: product
            branches:
              - []
              - - norm: layer
                - connect:
                    connectivity: {space: full, channels: separate}
                    sharing: {positions: none, channels: all}
                    weights: static
                    bias: positions
        - linear: {width: stage}
""",
        stem="[linear: {width: stage}]",
        head="{norm: layer, pool: mean}",
    ),
    "streams": _network(
        "{width: [4, 6, 8], depth: 2, block: module, downsample: [block: transition]}",
        f"""
  conv: [{conv(3)}, norm: batch]
  basic:
    - residual: [block: conv, act: relu, block: conv]
    - act: relu
  half: [{conv(3, "stage", 2)}, norm: batch]
  to_width: [linear: {{width: stage, bias: false}}, norm: batch]
  transition:
    - exchange: [[[]], [[block: half]]]
    - exchange: [[[], null], [null, []], [null, [block: half]]]
  module:
    - streams: [[block: basic], [block: basic], [block: basic]]
    - exchange:
        - [[], [block: to_width, resize: nearest], [block: to_width, resize: bilinear]]
        - [[block: half], [], [block: to_width, resize: {{scale: 2}}]]
        - [[{conv(3, "", 2)}, act: relu, block: half], [block: half], []]
    - streams: [[act: relu], [act: relu], [act: relu]]
""",
        head=f"""
  steps:
    - exchange: [[[{conv(3, 6, 2)}], [], null], [null, null, []]]
    - exchange: [[[{conv(3, 8, 2)}, norm: batch], []]]
  pool: max
""",
        stem="[linear: {width: stage}]",
        size="[16, 24]",
    ),
    "tokens": _network(
        "{width: 6, depth: 1, block: tokens}",
        f"""
  tokens:
    - parallel:
        join: tokens
        branches:
          - - parallel: {{branches: [[select: class_token], [norm: layer, pool: mean, linear: {{}}]]}}
          - [select: map, pool: {{max: {{size: 3, stride: 2}}}}, multiply: 0.5, {conv(3)}]
    - residual: {{branch: [linear: {{}}], shortcut: [scale: {{init: 0.5}}]}}
""",
        stem="[linear: {width: stage}, class_token: true]",
        head="""
  steps: [select: class_token, linear: {width: classes}]
  pool: none
  classifier: false
""",
    ),
}

START = """\
archspec: 1
name: probe
input: {size: [12, 20], channels: 12}
classes: 5
stages:
  - {width: 12, depth: 1, block: only}
"""


def text(steps: str, more: str = "", start: str = START) -> str:
    lines = "".join(f"    - {step}\n" for step in steps.split("; "))
    return f"{start}blocks:\n  only:\n{lines}{more}"


def program(steps: str, more: str = "", start: str = START) -> ir.Program:
    return resolve(network_from(read_text(text(steps, more, start), "probe.yaml")))


# Two maps of one size, of 12 and of 6 channels.
TWO = START.replace("{width: 12, depth: 1", "{width: [12, 6], depth: 1").replace(
    "block: only}",
    "block: only, downsample: [exchange: [[[]], [[linear: {width: 6}]]]]}\nhead: {steps: [exchange: [[[], null]]]}",
)
OTHER = "  other: [linear: {}, norm: batch]\n"
