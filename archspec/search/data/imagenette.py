"""The `data:` section of a study on Imagenette in, the folder of its images out, downloaded only when asked
for.

Imagenette: ten easy classes of ImageNet, short side 160 px, 99 MB, by fast.ai (github.com/fastai/imagenette).
"""

import hashlib
import os
import tarfile
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from archspec.errors import DataError
from archspec.search.data.cache import cache_folder
from archspec.search.data.config import DataConfig

FOLDER = "imagenette2-160"
URL = f"https://s3.amazonaws.com/fast-ai-imageclas/{FOLDER}.tgz"
MD5 = "e793b78cc4c9e9a4ccc0c1155377a412"  # as torchvision.datasets.Imagenette has it

_BLOCK = 2**20
_SECONDS = 60  # without a byte


def imagenette_root(config: DataConfig) -> Path:
    """The extracted folder: `root` itself, or `imagenette2-160` in it, or in the cache.

    Raises:
        DataError: it is not there and `download` is false, or the download failed.
    """
    home = Path(config.root).expanduser() if config.root else cache_folder()
    for found in (home, home / FOLDER):
        if (found / config.train_split).is_dir():
            return found
    if not config.download:
        raise DataError(
            f"no Imagenette in {home}: set data.download: true to fetch 99 MB from {URL}, "
            f"or extract that archive and set data.root to the folder that holds {FOLDER}"
        )
    fetch_archive(URL, MD5, home, FOLDER)
    return home / FOLDER


def fetch_archive(url: str, md5: str, home: Path, folder: str) -> None:
    """Download a .tgz, check it, extract it, and put its `folder` into `home` in one step.

    Raises:
        DataError: no connection, another checksum, an archive without the folder, or no room.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home, prefix=f".{folder}.") as temporary:
            archive = Path(temporary) / "archive.tgz"
            found = _download(url, archive)
            if found != md5:
                raise DataError(f"{url} has the MD5 sum {found}, expected {md5}: not extracted")
            with tarfile.open(archive) as tar:
                tar.extractall(temporary, filter="data")
            if not (Path(temporary) / folder).is_dir():
                raise DataError(f"{url} holds no folder {folder}")
            if not (home / folder).exists():
                os.replace(Path(temporary) / folder, home / folder)
    except (OSError, urllib.error.URLError, tarfile.TarError) as error:
        raise DataError(f"{url} could not be fetched to {home}: {error}") from error


def _download(url: str, target: Path) -> str:
    """Write the file; its MD5 sum, which guards against a broken transfer, not against malice (that is
    HTTPS's task).
    """
    digest = hashlib.md5(usedforsecurity=False)
    with urllib.request.urlopen(url, timeout=_SECONDS) as source, target.open("wb") as out:
        while block := source.read(_BLOCK):
            digest.update(block)
            out.write(block)
    return digest.hexdigest()
