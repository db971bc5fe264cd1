"""What a `data:` section may say, and what identifies the data."""

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from archspec.search.data.config import DataConfig

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown name": ({"name": "fractl"}, "nearest: fractal"),
    "unknown key": ({"sise": 32}, "Extra inputs"),
    "a family without a name": ({"name": "hfds/"}, "unknown data set"),
    "no root": ({"name": "imagefolder"}, "needs root"),
    "no root of shards": ({"name": "wds/x"}, "needs root"),
    "root of a made set": ({"root": "/tmp"}, "leave root out"),
    "stream of files": ({"name": "imagefolder", "root": "x", "stream": True}, "stream is for"),
    "download of a folder": ({"name": "imagefolder", "root": "x", "download": True}, "nothing to download"),
    "classes of relation": ({"name": "relation", "classes": 5}, "4 classes"),
    "size of relation": ({"name": "relation", "size": 12}, "at least 16"),
    "size as text": ({"size": "32"}, "valid integer"),
    "size too large": ({"size": 10**12}, "less than or equal"),
    "share not a number": ({"val_share": float("nan")}, "finite"),
    "no images": ({"train": 0}, "greater than or equal"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_sections_say_what_is_wrong(case: str) -> None:
    section, words = WRONG[case]
    with pytest.raises(ValidationError, match=words):
        DataConfig(**section)


def test_defaults_are_filled_in() -> None:
    config = DataConfig()
    assert (config.class_count, config.count("train"), config.count("val")) == (20, 6000, 2000)
    assert DataConfig(name="relation").class_count == 4
    assert DataConfig(name="imagefolder", root="x").count("train") is None


def test_what_is_written_out_and_what_is_left_out_are_the_same_protocol() -> None:
    assert DataConfig(train=6000, val=2000, classes=20).protocol() == DataConfig().protocol()
    assert DataConfig(name="imagefolder", root="a").protocol() == DataConfig(name="imagefolder", root="b").protocol()
    for change in ({"seed": 1}, {"size": 64}, {"train": 100}, {"stream": True}, {"name": "relation"}):
        assert DataConfig(**change).protocol() != DataConfig().protocol()


def test_synthetic_data_say_so() -> None:
    assert "not a ranking of ImageNet" in DataConfig().note
    assert DataConfig(name="imagefolder", root="x").note == ""


def test_a_section_is_checked_without_torch() -> None:
    code = (
        "import sys; from archspec.search.data.config import DataConfig; from archspec.search.recipe import Recipe;"
        "DataConfig(); Recipe(); assert not {'torch', 'timm', 'optuna', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
