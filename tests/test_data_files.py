"""Folders, tars and named sets: split, decoded and cached once, whatever happens to the cache."""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from archspec.errors import DataError
from archspec.search.data import DataConfig, cache, open_data
from archspec.search.data.decode import decode
from archspec.search.data.imagenette import FOLDER, fetch_archive
from archspec.search.data.selection import held_out, stratified


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHSPEC_CACHE", str(tmp_path / "cache"))


def write_tree(root: Path, splits: dict[str, dict[str, int]], mode: str = "RGB") -> Path:
    """Images of random colours, 20 x 30 pixels, `splits[split][class]` of them; the empty split is a flat
    tree.
    """
    random = np.random.default_rng(0)
    for split, classes in splits.items():
        for name, count in classes.items():
            folder = root / split / name
            folder.mkdir(parents=True, exist_ok=True)
            for index in range(count):
                pixels = random.integers(0, 256, (30, 20, 3), dtype=np.uint8)
                Image.fromarray(pixels).convert(mode).save(folder / f"{index}.png")
    return root


def pack(root: Path, target: Path, prefix: str = "") -> Path:
    with tarfile.open(target, "w") as tar:
        for path in sorted(root.rglob("*.png")):
            tar.add(path, f"{prefix}{path.relative_to(root)}")
    return target


def config(root: Path, **more: Any) -> DataConfig:
    return DataConfig(name="imagefolder", root=str(root), size=16, **more)


SPLITS = {"train": {"class2": 6, "class10": 8}, "val": {"class2": 2, "class10": 3}, "test": {"class2": 1, "class10": 1}}


def test_a_folder_and_a_tar_of_it_hold_the_same_images(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "tree", SPLITS)
    folder = open_data(config(root), with_test=True)
    assert folder.classes == ("class2", "class10")
    assert (len(folder.train), len(folder.val), len(folder.test or [])) == (14, 5, 2)
    assert folder.size == (16, 16)
    assert np.bincount(folder.val.labels).tolist() == [2, 3]
    for prefix in ("", "./", "outer/inner/"):
        tar = open_data(config(pack(root, tmp_path / "packed.tar", prefix)))
        assert tar.digest == folder.digest
        assert (tar.mean, tar.std) == (folder.mean, folder.std)


def test_mean_and_deviation_are_those_of_the_training_images(tmp_path: Path) -> None:
    data = open_data(config(write_tree(tmp_path / "tree", SPLITS)))
    images, labels = data.train.take(np.arange(len(data.train)))
    np.testing.assert_allclose(data.mean, images.mean((0, 1, 2)) / 255, rtol=1e-12)
    np.testing.assert_allclose(data.std, images.std((0, 1, 2)) / 255, rtol=1e-9)
    assert data.val.mean == data.train.mean
    assert labels.dtype == np.int64


def test_a_flat_tree_is_split_by_seed_and_by_class(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "tree", {"": {"a": 40, "b": 20}})
    first, again = open_data(config(root, val_share=0.25)), open_data(config(root, val_share=0.25))
    other = open_data(config(root, val_share=0.25, seed=1))
    assert np.bincount(first.val.labels).tolist() == [10, 5]
    assert len(first.train) == 45
    assert first.digest == again.digest != other.digest
    train, val = (
        {image.tobytes() for image in images.take(np.arange(len(images)))[0]} for images in (first.train, first.val)
    )
    assert not train & val


def test_a_share_of_the_training_split_is_held_out_where_there_is_no_other(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "tree", {"train": {"a": 10, "b": 10}})
    with pytest.raises(DataError, match=r"val_split.*no split 'val'; nearest: train.*val_split: null"):
        open_data(config(root))
    data = open_data(config(root, val_split=None, val_share=0.2))
    assert (len(data.train), len(data.val)) == (16, 4)


def test_counts_take_a_part_of_every_class(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "tree", {"train": {"a": 20, "b": 10}, "val": {"a": 4, "b": 4}})
    data = open_data(config(root, train=15, val=4))
    assert np.bincount(data.train.take(np.arange(15))[1]).tolist() == [10, 5]
    assert np.bincount(data.val.labels).tolist() == [2, 2]


def test_a_smaller_subset_is_part_of_a_larger_one() -> None:
    labels = np.random.default_rng(0).integers(0, 5, 200)
    small, large = stratified(labels, 30, 7), stratified(labels, 100, 7)
    assert set(small) < set(large)
    stay, out = held_out(labels, 0.3, 7)
    assert sorted([*stay, *out]) == list(range(200))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "CMYK"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), (255, 255, 255)).convert(mode).save(buffer, "TIFF")
    buffer.seek(0)
    image = decode(buffer, 16, "area")
    assert image.shape == (16, 16, 3)
    assert (image == 255).all()


def test_the_centre_square_is_shrunk_by_area_means() -> None:
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, 4:12] = np.arange(8)[:, None, None] * 30  # the centre; the sides stay black
    pixels[:, :4] = 255
    image = decode(Image.fromarray(pixels), 4, "area")
    np.testing.assert_array_equal(image[:, 0, 0], [15, 75, 135, 195])
    assert decode(Image.fromarray(pixels), 32, "area").shape == (32, 32, 3)


def test_a_broken_image_ends_with_its_name_or_is_counted(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "tree", SPLITS)
    broken = root / "train" / "class2" / "3.png"
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(DataError, match=r"train/class2/3\.png"):
        open_data(config(root))
    data = open_data(config(root, on_error="skip"))
    assert len(data.train) == 13
    assert len(data.train.skipped) == 1
    assert "class2/3.png" in open_data(config(root, on_error="skip")).train.skipped[0]


WRONG_TREES: dict[str, tuple[dict[str, dict[str, int]], str]] = {
    "one class": ({"train": {"a": 4}, "val": {"a": 2}}, "at least two classes"),
    "a class of val alone": ({"train": {"a": 2, "b": 2}, "val": {"c": 2}}, "without training images"),
    "no training split": ({"training": {"a": 2, "b": 2}, "val": {"a": 1}}, "no split 'train'; nearest: training"),
    "images outside of classes": ({"train": {"a": 2, "b": 2, "": 1}, "val": {"a": 1}}, "lies in no class folder"),
    "no images": ({"train": {"a": 0}}, "no images"),
}


@pytest.mark.parametrize("case", WRONG_TREES)
def test_wrong_trees_say_what_is_wrong(tmp_path: Path, case: str) -> None:
    tree, words = WRONG_TREES[case]
    with pytest.raises(DataError, match=words):
        open_data(config(write_tree(tmp_path / "tree", tree)))


def test_wrong_roots_say_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("no images")
    (tmp_path / "torn.tar").write_bytes(b"not a tar at all" * 100)
    for name, words in {
        "absent": "does not exist",
        "file.txt": "neither a folder nor a .tar",
        "torn.tar": "list",
    }.items():
        with pytest.raises(DataError, match=words):
            open_data(config(tmp_path / name))


def test_the_number_of_classes_is_checked(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "tree", SPLITS)
    with pytest.raises(DataError, match="has 2 classes"):
        open_data(config(root, classes=3))


def cached_files(tmp_path: Path, name: str) -> list[Path]:
    return sorted((tmp_path / "cache").rglob(name))


def test_nothing_is_decoded_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_tree(tmp_path / "tree", SPLITS)
    first = open_data(config(root))
    before = {path: path.stat().st_mtime_ns for path in cached_files(tmp_path, "*.npy")}
    monkeypatch.setattr("archspec.search.data.image_files.list_images", None)  # a second listing would fail
    again = open_data(config(root))
    assert again.digest == first.digest
    assert {path: path.stat().st_mtime_ns for path in cached_files(tmp_path, "*.npy")} == before
    assert isinstance(again.val.images.base, np.memmap)
    assert not again.val.images.flags.writeable


@pytest.mark.parametrize(
    "damage", ["cut", "flip", "empty", "no meta", "torn meta", "foreign meta", "pickle", "no labels"]
)
def test_a_damaged_cache_is_made_anew(tmp_path: Path, damage: str) -> None:
    root = write_tree(tmp_path / "tree", SPLITS)
    digest = open_data(config(root)).digest
    images, meta = cached_files(tmp_path, "images.npy")[0], cached_files(tmp_path, "meta.json")
    labels = cached_files(tmp_path, "labels.npy")[0]
    content = images.read_bytes()
    if damage == "cut":
        images.write_bytes(content[:-1])
    elif damage == "flip":
        images.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "empty":
        images.write_bytes(b"")
    elif damage == "no meta":
        meta[0].unlink()
    elif damage == "torn meta":
        meta[0].write_text(meta[0].read_text()[:50])
    elif damage == "foreign meta":
        meta[0].write_text(meta[1].read_text())
    elif damage == "pickle":
        np.save(images, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    else:
        labels.unlink()
    assert open_data(config(root)).digest == digest
    assert images.read_bytes() == content
    assert labels.exists()


def test_changed_images_are_decoded_again(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "tree", SPLITS)
    first = open_data(config(root))
    write_tree(root, {"train": {"class2": 7}})
    assert len(open_data(config(root)).train) == len(first.train) + 1


def test_a_maker_that_fails_leaves_no_half_a_set(tmp_path: Path) -> None:
    def chunks() -> Any:
        yield np.zeros((2, 4, 4, 3), np.uint8), np.zeros(2, np.int64)
        raise DataError("the third image is broken")

    with pytest.raises(DataError, match="third image"):
        cache.cached({"a": 1}, lambda: cache.Making(("x",), chunks(), []))
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()] == ["lock"]
    with pytest.raises(DataError, match="no readable image"):
        cache.cached({"a": 1}, lambda: cache.Making(("x",), iter(()), []))


def test_two_processes_at_once_open_the_same_set(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "tree", {"train": {"a": 40, "b": 40}, "val": {"a": 5, "b": 5}})
    code = f"""
        from archspec.search.data import DataConfig, open_data
        print(open_data(DataConfig(name="imagefolder", root={str(root)!r}, size=16)).digest)
    """
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) for _ in range(2)]
    found = [process.communicate(timeout=60)[0] for process in both]
    assert found[0] == found[1] == open_data(config(root)).digest.encode() + b"\n"
    assert not [path for path in (tmp_path / "cache").rglob(".*") if path.is_file()]


def test_an_unwritable_cache_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ARCHSPEC_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="ARCHSPEC_CACHE"):
        open_data(DataConfig(size=8, train=10, val=10))


def test_procedural_sets_as_a_stream_and_as_a_fixed_set() -> None:
    fixed = open_data(DataConfig(size=16, train=60, val=20), with_test=True)
    stream = open_data(DataConfig(size=16, train=60, val=20, stream=True))
    indices = np.array([0, 7, 59])
    np.testing.assert_array_equal(stream.train.take(indices, epoch=0)[0], fixed.train.take(indices, epoch=0)[0])
    np.testing.assert_array_equal(fixed.train.take(indices, epoch=3)[0], fixed.train.take(indices, epoch=0)[0])
    longer = open_data(DataConfig(size=16, train=240, val=20))
    np.testing.assert_array_equal(stream.train.take(indices, epoch=3)[0], longer.train.take(indices + 180)[0])
    assert len(stream.train) == 60
    assert fixed.digest != stream.digest
    assert len({fixed.train.digest, fixed.val.digest, fixed.test and fixed.test.digest}) == 3


def test_imagenette_is_fetched_only_when_asked(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.download: true"):
        open_data(DataConfig(name="imagenette"))
    write_tree(tmp_path / FOLDER, {"train": {"n01": 3, "n02": 3}, "val": {"n01": 2, "n02": 2}})
    assert len(open_data(DataConfig(name="imagenette", root=str(tmp_path), size=16)).train) == 6


def test_an_archive_is_checked_before_it_is_extracted(tmp_path: Path) -> None:
    write_tree(tmp_path / "made" / FOLDER, {"train": {"n01": 1}})
    archive = tmp_path / "archive.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "made" / FOLDER, FOLDER)
    home = tmp_path / "home"
    with pytest.raises(DataError, match="MD5"):
        fetch_archive(archive.as_uri(), "0" * 32, home, FOLDER)
    with pytest.raises(DataError, match="could not be fetched"):
        fetch_archive((tmp_path / "absent.tgz").as_uri(), "0" * 32, home, FOLDER)
    assert list(home.iterdir()) == []
    fetch_archive(archive.as_uri(), hashlib.md5(archive.read_bytes()).hexdigest(), home, FOLDER)
    assert [path.name for path in home.iterdir()] == [FOLDER]
    assert (home / FOLDER / "train" / "n01" / "0.png").is_file()


def test_named_sets_without_their_package_say_so(tmp_path: Path) -> None:
    """Where the packages are installed, the set itself is what is missing; the network is not asked."""
    with pytest.raises(DataError, match="hfds/absent/absent"):
        open_data(DataConfig(name="hfds/absent/absent"))
    (tmp_path / "shards").mkdir()
    with pytest.raises(DataError, match="wds/absent"):
        open_data(DataConfig(name="wds/absent", root=str(tmp_path / "shards"), classes=2))
