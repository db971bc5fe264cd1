"""The formats that a network can be exported to (no torch, so that the command line names them at once)."""

from enum import StrEnum


class Format(StrEnum):
    """What a network can be exported to."""

    onnx = "onnx"
    torch_export = "torch-export"
    python = "python"

    @property
    def suffix(self) -> str:
        """Of its files."""
        return {Format.onnx: ".onnx", Format.torch_export: ".pt2", Format.python: ".py"}[self]
