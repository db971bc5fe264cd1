"""A layer as written goes in; the ops it resolves to come out, through the real schema and resolve."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from archspec.ir import Connect, Feature, Op
from archspec.normal import Place, connect
from archspec.schema.layer import ConnectLayer


@dataclass(frozen=True)
class Layer:
    """One `connect` step as written in YAML, on a map of this shape (class tokens are put before it)."""

    written: Mapping[str, Any]
    source: Feature

    @cached_property
    def ops(self) -> tuple[Op, ...]:
        """What the layer resolves to: one op, or factor, activation (if any), factor.

        Raises pydantic.ValidationError where it is illegal wherever it stands, normal.Illegal where it is so here.
        """
        layer = ConnectLayer.model_validate(self.written)
        return connect(layer, Place("layer", self.source, self.source.channels, "normal"))

    @property
    def connections(self) -> tuple[Connect, ...]:
        """The connection ops among them."""
        return tuple(op for op in self.ops if isinstance(op, Connect))

    def __str__(self) -> str:
        return f"{self.written} on {self.source}"


def resolve_steps(steps: list[dict[str, Any]], source: Feature) -> tuple[Op, ...]:
    """The ops of these steps, taken from the stem of a network whose images have the shape of `source`."""
    from archspec.resolve import resolve
    from archspec.schema.network import Network

    before = [{"class_token": True}] * source.class_tokens
    after = {"linear": {"width": "stage"}}
    network = Network.model_validate(
        {
            "archspec": 1,
            "name": "layer",
            "input": {"size": [source.height, source.width], "channels": source.channels},
            "classes": 2,
            "stem": [*before, *steps, after],
            "stages": [{"width": source.channels, "depth": 1, "block": "last"}],
            "blocks": {"last": [{"sequence": [{"act": "relu"}]}]},
        }
    )
    wanted = range(len(before), len(before) + len(steps))
    stem = (op for op in resolve(network).ops if op.path.startswith("stem."))
    return tuple(op for op in stem if int(op.path.split(".")[1]) in wanted)
