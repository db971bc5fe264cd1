"""The base of every model of a YAML file: strict, frozen, unknown keys are errors."""

from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


class Strict(BaseModel):
    """Unknown keys, NaN, infinities and silent conversions are refused; values do not change once made."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


# YAML has lists, frozen models have tuples. Use as `Annotated[tuple[X, ...], FROM_LIST]`.
FROM_LIST = BeforeValidator(_as_tuple)
