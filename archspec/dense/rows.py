"""The 16 rows of dense tasks in Tables 3 and 11 of arXiv 2106.04263, as data: backbone, head, settings, figures.

What the paper prints (parameters in millions, FLOPs in 10^9, truncated) stands beside the exact counts. Its FLOPs come
from a tool of its authors that counts norms and activations too, so they are up to 0.6 % above the multiply-adds.
Parameters and multiply-adds were counted from the official configurations (github.com/Atten4Vis/DemystifyLocalViT), by
hand-written networks that share no code with archspec; archspec.dense.costs counts the same.
"""

from dataclasses import dataclass

from archspec.dense.backbone import NormKind


@dataclass(frozen=True)
class Row:
    """One published network: UPerNet on ADE20K (512x2048) or Cascade Mask R-CNN on COCO (1280x800)."""

    network: str
    head: str
    norm: NormKind
    multiple: int | None
    """Mixing branches see maps padded to multiples of this, as the released code does; see archspec.dense.multiples."""
    drop_path: float
    paper_params_m: int
    paper_flops_g: int
    params: int
    macs: int
    accuracy: float
    """As printed: mIoU of a single scale, or AP of boxes."""


CASCADE, UPERNET = "cascade_mask_rcnn", "upernet"

ROWS = (
    Row("swin_tiny", CASCADE, "layer", None, 0.2, 86, 747, 85_629_804, 744_804_323_328, 50.5),
    Row("swin_tiny", UPERNET, "layer", None, 0.3, 60, 947, 59_941_862, 944_385_149_184, 44.5),
    Row("dw_conv_tiny", CASCADE, "batch", 7, 0.2, 82, 730, 81_514_194, 727_251_177_984, 49.9),
    Row("dw_conv_tiny", UPERNET, "batch", 7, 0.3, 56, 928, 55_826_252, 925_841_548_416, 45.5),
    Row("d_dw_conv_tiny", CASCADE, "batch", 7, 0.2, 108, 730, 108_473_202, 727_278_134_784, 50.5),
    Row("d_dw_conv_tiny", UPERNET, "batch", 7, 0.3, 83, 928, 82_785_260, 925_868_505_216, 45.7),
    Row("i_dynamic_tiny", CASCADE, "batch", None, 0.2, 84, 741, 83_585_730, 738_493_424_640, 50.8),
    Row("i_dynamic_tiny", UPERNET, "batch", None, 0.3, 58, 939, 57_897_788, 936_784_429_056, 46.2),
    Row("swin_base", CASCADE, "layer", None, 0.3, 145, 986, 144_977_002, 981_288_805_376, 51.9),
    Row("swin_base", UPERNET, "layer", None, 0.3, 121, 1192, 121_279_716, 1_187_351_354_368, 48.1),
    Row("dw_conv_base", CASCADE, "batch", 7, 0.3, 132, 924, 131_555_890, 919_762_091_008, 51.1),
    Row("dw_conv_base", UPERNET, "batch", 7, 0.3, 108, 1129, 107_858_604, 1_124_419_235_328, 48.3),
    Row("d_dw_conv_base", CASCADE, "batch", 7, 0.3, 219, 924, 218_806_706, 919_849_335_808, 51.2),
    Row("d_dw_conv_base", UPERNET, "batch", 7, 0.3, 195, 1129, 195_109_420, 1_124_506_480_128, 48.0),
    Row("i_dynamic_base", CASCADE, "batch", None, 0.3, 137, 948, 137_462_386, 942_856_688_640, 51.8),
    Row("i_dynamic_base", UPERNET, "batch", None, 0.3, 114, 1153, 113_765_100, 1_148_139_339_776, 47.8),
)
