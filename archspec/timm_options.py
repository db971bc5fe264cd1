"""A network and timm's options go in; the network with those options comes out, checked as what a file says."""

from typing import Any

from archspec.schema import network as schema
from archspec.schema.load import network_from
from archspec.schema.source import read_text
from archspec.schema.writing import dump_yaml

POOLS = {"mean": "avg", "max": "max", "class_token": "token"}
"""What timm calls the ways to pool; "" is none."""


def adapted(
    written: schema.Network,
    num_classes: int | None = None,
    in_chans: int | None = None,
    img_size: int | tuple[int, int] | None = None,
    global_pool: str | None = None,
    drop_path_rate: float | None = None,
) -> schema.Network:
    """The network with timm's options in place of what it says.

    Raises ValueError for a way to pool that there is not, SpecError for what no network may say.
    """
    changes: dict[str, Any] = {}
    if num_classes:
        changes["classes"] = num_classes
    if global_pool:
        kinds = {ours: name for name, ours in POOLS.items()}
        if global_pool not in kinds:
            raise ValueError(f"global_pool is one of {', '.join(kinds)} or empty; found {global_pool!r}")
        changes["head"] = written.head.model_copy(update={"pool": kinds[global_pool]})
    if drop_path_rate is not None:
        changes["drop_path"] = drop_path_rate
    image: dict[str, Any] = {}
    if in_chans is not None:
        image["channels"] = in_chans
    if img_size is not None:
        image["size"] = img_size if isinstance(img_size, int) else tuple(img_size)
    if image:
        changes["input"] = written.input.model_copy(update=image)
    # Written out again, so that what timm was given is checked as what a file says.
    data = written.model_dump(mode="json", exclude_unset=True)
    for name, value in changes.items():
        data[name] = value.model_dump(mode="json") if isinstance(value, schema.Input | schema.Head) else value
    return network_from(read_text(dump_yaml(data), f"{written.name} with timm's options")) if changes else written
