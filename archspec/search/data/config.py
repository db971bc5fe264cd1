"""The `data:` section of a study file in, the facts that define a data set out.

Imports neither torch nor timm nor numpy: a study file is checked without them.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from archspec.errors import nearest
from archspec.schema.base import Strict

PROCEDURAL = ("fractal", "relation")
NAMES = (*PROCEDURAL, "imagefolder", "imagenette", "hfds/NAME", "wds/NAME")

TRAIN_IMAGES, VAL_IMAGES, TEST_IMAGES = 6000, 2000, 2000
"""Sizes of the procedural sets where the study names none."""

_FAMILIES = ("hfds", "wds")
_RELATION_CLASSES = (4, 20)

Count = Annotated[int, Field(ge=1, le=100_000_000)]


class DataConfig(Strict):
    """Which images a study trains on; `archspec.search.data.load.open_data` opens them.

    Wrong combinations raise a pydantic `ValidationError`, so that a study file reports them with their line.
    """

    name: str = "fractal"
    """`fractal` (default) and `relation` are made here and need no download; `imagefolder` is a tree or a tar
    of images; `imagenette` is downloaded when `download` says so; `hfds/NAME` and `wds/NAME` go through
    timm."""

    root: str | None = None
    """Folder or `.tar` of `imagefolder` (`<split>/<class>/*.jpg`, or `<class>/*.jpg`), folder of `wds/`
    shards, cache folder of `hfds/`, folder that holds or receives `imagenette`. Relative to the working
    directory."""

    size: Annotated[int, Field(ge=8, le=1024)] = 32
    """Side of the square images, in pixels."""

    train: Count | None = None
    """Training images: 6,000 for a procedural set, else at most so many (seeded, every class in proportion);
    null takes all. Of a stream: the images of one epoch."""

    val: Count | None = None
    """Validation images: 2,000 for a procedural set, else at most so many; null takes all."""

    test: Count | None = None
    """Test images, opened only when asked for; as `val`."""

    classes: Annotated[int, Field(ge=2, le=100_000)] | None = None
    """`fractal`: 20 unless said otherwise; `relation`: 4 (the direction) or 20 (with the texture). For files:
    null, or the number that must be found."""

    train_split: Annotated[str, Field(min_length=1)] = "train"
    """Name of the split to train on."""

    val_split: Annotated[str, Field(min_length=1)] | None = "val"
    """Name of the split to search on; null holds out `val_share` of the training split, as is done for a flat
    tree."""

    test_split: Annotated[str, Field(min_length=1)] = "test"
    """Name of the split that is reported once."""

    val_share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
    """Share of a flat tree that is held out, seeded, every class in proportion."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Of a procedural set, of a held-out share and of a subset. Not the seed of training."""

    stream: bool = False
    """Procedural sets only: fresh training images in every epoch (one pass) instead of a fixed set."""

    download: bool = False
    """`imagenette` and `hfds/`: whether the network may be used. Nothing is ever fetched without it."""

    resize: Literal["area", "bicubic"] = "area"
    """How the short side comes to `size` before the centre crop; what is enlarged is always bicubic."""

    on_error: Literal["fail", "skip"] = "fail"
    """What an unreadable image does: end with its name, or be left out (counted in `ImageArray.skipped`)."""

    image_key: Annotated[str, Field(min_length=1)] | None = None
    """`hfds/` and `wds/`: the column or the extensions of the image; null: timm's default."""

    label_key: Annotated[str, Field(min_length=1)] | None = None
    """`hfds/` and `wds/`: the column or the sidecar field of the label; null: timm's default."""

    @property
    def family(self) -> str:
        """`fractal`, `relation`, `imagefolder`, `imagenette`, `hfds` or `wds`."""
        return self.name.partition("/")[0]

    @property
    def procedural(self) -> bool:
        """Whether the images are made here."""
        return self.name in PROCEDURAL

    @property
    def class_count(self) -> int | None:
        """The number of classes where it is known without opening the data, else None."""
        if self.classes is None and self.procedural:
            return 20 if self.name == "fractal" else 4
        return self.classes

    @property
    def note(self) -> str:
        """What every report made on this data must say; empty for real images."""
        return f"{self.name} is synthetic: not a ranking of ImageNet" if self.procedural else ""

    def count(self, split: Literal["train", "val", "test"]) -> int | None:
        """Images asked of a split; None: all there are."""
        asked: int | None = getattr(self, split)
        if asked is None and self.procedural:
            return {"train": TRAIN_IMAGES, "val": VAL_IMAGES, "test": TEST_IMAGES}[split]
        return asked

    def protocol(self) -> dict[str, Any]:
        """What this section says about the pixels, defaults filled in, as plain JSON values; where they lie
        is left out.

        The content itself is `ImageData.digest`; both together are the identity of the data of a trial.
        """
        ignored = {"root", "download", "test", "test_split"}
        if self.procedural:
            ignored |= {
                "train_split",
                "val_split",
                "val_share",
                "resize",
                "on_error",
                "image_key",
                "label_key",
            }
        facts = {key: value for key, value in self.model_dump().items() if key not in ignored}
        return facts | {"train": self.count("train"), "val": self.count("val"), "classes": self.class_count}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self._check_name()
        if self.name in ("imagefolder",) or self.family == "wds":
            _require(self.root is not None, f"{self.name} needs root: the folder or the .tar of the images")
        if self.procedural:
            _require(self.root is None, f"{self.name} is made, not read: leave root out")
        _require(
            not self.stream or self.procedural,
            f"stream is for {' and '.join(PROCEDURAL)}, not for {self.name}",
        )
        _require(not self.download or self.family in ("imagenette", "hfds"), f"nothing to download for {self.name}")
        if self.name == "relation":
            _require(
                self.classes in (None, *_RELATION_CLASSES),
                "relation has 4 classes (direction) or 20 (with texture)",
            )
            _require(self.size >= 16, "relation needs a size of at least 16 pixels")
        return self

    def _check_name(self) -> None:
        family, slash, rest = self.name.partition("/")
        known = (family in _FAMILIES and bool(rest)) if slash else self.name in NAMES
        close = nearest(self.name, NAMES) or NAMES
        _require(known, f"unknown data set {self.name!r}; nearest: {', '.join(close)}")


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise ValueError(rule)
