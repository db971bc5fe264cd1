"""timm's own tests of its models go in, and run over the networks that archspec registers.

Not collected by pytest: timm's tests come with its source only. With timm's version in place of 1.0.31:

    pip download timm==1.0.31 --no-binary timm --no-deps && tar xzf timm-1.0.31.tar.gz
    python tests/run_timm_tests.py timm-1.0.31/tests/test_models.py -k default_cfgs
    python tests/run_timm_tests.py timm-1.0.31/tests/test_models.py --networks '*_nano' -k 'forward or backward'

TorchScript cannot compile a module whose kernels are chosen by data, nor can torch.fx trace one that serves several
image sizes; torch.export does both (tests/test_timm_models.py), and tests that ask for the first two are left out.

Two failures say nothing of the networks: `layer_*`, single layers, have fewer feature maps than the three that timm
asks for; and where a map has as many channels as rows and columns (`study_dynamic_pointwise`), pruning is tested on
(B, H, W, C) taken for (B, C, H, W).
"""

import argparse
import fnmatch
import sys
from typing import Any

import pytest
import timm

import archspec  # noqa: F401  (registers)
from archspec.api import program_of
from archspec.timm_models import features_of
from archspec.timm_names import PREFIX

LEFT_OUT = "not torchscript and not fx"


def with_class_token(name: str) -> bool:
    return features_of(program_of(name.removeprefix(PREFIX))).class_tokens > 0


def listing(pattern: str) -> Any:
    """A list_models that knows our networks only, in the places where timm's tests ask for models of a kind."""
    ours = [name for name in timm.list_models(f"{PREFIX}*") if fnmatch.fnmatch(name, PREFIX + pattern)]
    tokens = [name for name in ours if with_class_token(name)]

    def list_models(filter: Any = "", module: Any = "", **options: Any) -> list[str]:
        if options.get("pretrained"):
            return []
        if filter:  # networks with class tokens are "non standard", as ViT and DeiT are
            return tokens if "deit*" in filter else []
        return [name for name in ours if name not in tokens or "deit*" not in options.get("exclude_filters", ())]

    return list_models


class OursOnly:
    """Leaves out the tests that name models of timm."""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if PREFIX in item.nodeid]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", help="timm's tests/test_models.py")
    parser.add_argument("--networks", default="*", help="which networks, as a pattern")
    parser.add_argument("-k", default="", help="which tests")
    known, more = parser.parse_known_args()
    timm.list_models = listing(known.networks)
    chosen = f"({known.k}) and {LEFT_OUT}" if known.k else LEFT_OUT
    quiet = ["-p", "no:cacheprovider", "-W", "ignore", "-o", "addopts=", "-k", chosen]
    return pytest.main([known.path, *quiet, *more], plugins=[OursOnly()])


if __name__ == "__main__":
    sys.exit(main())
