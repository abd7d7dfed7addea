"""The model in a library's hands: transformers over torch or, by optimum, onnxruntime; or sentence-transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, pipeline


def load(folder: str, backend: str) -> Any:
    """What answers texts with dicts of ``label`` and ``score``; of sentence-transformers, a single text.

    ``backend`` is ``torch``, ``onnx`` or ``sentence-transformers``.
    """
    if backend == "torch":
        return pipeline("text-classification", model=folder, trust_remote_code=True)
    if backend == "sentence-transformers":
        return _cross_encoder(folder)
    from optimum.onnxruntime import ORTModelForSequenceClassification

    model = ORTModelForSequenceClassification.from_pretrained(folder)
    return pipeline("text-classification", model=model, tokenizer=AutoTokenizer.from_pretrained(folder))


def _cross_encoder(folder: str) -> Any:
    """Its class for classifiers, which are of pairs mostly but may be of single texts, over its ONNX backend."""
    from sentence_transformers import CrossEncoder

    (file,) = Path(folder).glob("*.onnx")
    model = CrossEncoder(folder, backend="onnx", model_kwargs={"file_name": file.name}, trust_remote_code=True)
    labels = model.config.id2label

    def classify(text: str) -> list[dict[str, Any]]:
        scores = model.predict(text, apply_softmax=True)
        best = int(scores.argmax())
        return [{"label": labels[best], "score": float(scores[best])}]

    return classify
