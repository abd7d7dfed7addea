"""A pipeline of transformers over torch, or over onnxruntime by way of optimum, as sentence-transformers does it."""

from __future__ import annotations

from typing import Any

from transformers import AutoTokenizer, pipeline


def load(folder: str, backend: str) -> Any:
    """What answers texts with dicts of ``label`` and ``score``; ``backend`` is ``torch`` or ``onnx``."""
    if backend == "torch":
        return pipeline("text-classification", model=folder, trust_remote_code=True)
    from optimum.onnxruntime import ORTModelForSequenceClassification

    model = ORTModelForSequenceClassification.from_pretrained(folder)
    return pipeline("text-classification", model=model, tokenizer=AutoTokenizer.from_pretrained(folder))
