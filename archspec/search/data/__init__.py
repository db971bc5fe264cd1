"""The `data:` section of a study in, decoded images out, whatever they come from.

config.py    DataConfig: what is written (no torch, no numpy)
load.py      open_data: DataConfig -> ImageData
images.py    ImageArray, ImageStream, ImageData: what training sees
fractal.py, relation.py   the embedded sets: (seed, split, indices) -> images, labels
image_files.py, timm_sets.py, imagenette.py   folders and tars; hfds/ and wds/; the download
cache.py     everything decoded lies here once
"""

from archspec.search.data.config import DataConfig
from archspec.search.data.images import ImageData  # numpy only

__all__ = ["DataConfig", "open_data"]


def open_data(config: DataConfig, with_test: bool = False) -> ImageData:
    """Open the images of a study: see `archspec.search.data.load.open_data`, which is imported only now."""
    from archspec.search.data import load

    return load.open_data(config, with_test)
