"""The arithmetics that a version's model may be run in, each a file of its own."""

from __future__ import annotations

from enum import StrEnum


class Precision(StrEnum):
    """Single precision; or 8-bit weights and activations where that pays, scaled anew for each input."""

    FP32 = "fp32"
    INT8 = "int8"


ONNX_FILES: dict[Precision, str] = {Precision.FP32: "model.onnx", Precision.INT8: "model.int8.onnx"}
