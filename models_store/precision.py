"""The arithmetics that a version's model may be run in, each a file of its own."""

from __future__ import annotations

from enum import StrEnum


class Precision(StrEnum):
    """Single precision; 8-bit weights and activations, scaled anew for each input; half precision, for GPUs."""

    FP32 = "fp32"
    INT8 = "int8"
    FP16 = "fp16"


ONNX_FILES: dict[Precision, str] = {
    Precision.FP32: "model.onnx",
    Precision.INT8: "model.int8.onnx",
    Precision.FP16: "model.fp16.onnx",
}
