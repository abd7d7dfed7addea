"""Export a folder of transformers to ONNX and quantise it, both by optimum and as its documentation does it.

    python export.py SOURCE FP32 INT8

Writes ``model.onnx`` into FP32 and ``model_quantized.onnx`` into INT8, the names that loaders look for, and beside each
the tokenizer.
"""

from __future__ import annotations

import sys

from optimum.onnxruntime import ORTModelForSequenceClassification, ORTQuantizer
from optimum.onnxruntime.configuration import AutoQuantizationConfig
from transformers import AutoTokenizer


def main(source: str, fp32: str, int8: str) -> None:
    """Both exports of one model."""
    model = ORTModelForSequenceClassification.from_pretrained(source, export=True, trust_remote_code=True)
    model.save_pretrained(fp32)
    # Dynamic, for the instructions that all servers of recent years have (VNNI).
    config = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=True)
    ORTQuantizer.from_pretrained(fp32).quantize(save_dir=int8, quantization_config=config)
    for folder in (fp32, int8):
        AutoTokenizer.from_pretrained(source).save_pretrained(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
