"""The page that goes with an export: how to run the model without Thawline."""

from __future__ import annotations

from models_store.precision import ONNX_FILES
from models_store.predictor import Predictor
from models_store.tables import ModelVersion
from models_store.tasks import Task
from models_store.tasks.base import ObjectiveName

USAGE_FILE = "USAGE.md"
_TEXT, _PAIR = '"Where is my parcel?"', '"Where is my parcel?", "When will my order arrive?"'
_WORDS = '"Ada met Bob on Monday .".split(), is_pretokenized=True'

_SOFTMAX = """\
scores = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
print(config["task"]["labels"][scores.argmax()], scores.max())"""
_READ = {
    ObjectiveName.CROSS_ENTROPY: _SOFTMAX,
    ObjectiveName.MULTI_LABEL: """\
scores = 1 / (1 + np.exp(-logits))
print([label for label, score in zip(config["task"]["labels"], scores) if score > 0.5])""",
    ObjectiveName.GRADED: """\
low, high = config["task"]["score_range"]
print(low + (high - low) / (1 + np.exp(-logits[0])))""",
    ObjectiveName.TOKEN_CROSS_ENTROPY: """\
first = [encoding.word_ids.index(word) for word in sorted(set(encoding.word_ids) - {None})]
print([config["task"]["tags"][logits[place].argmax()] for place in first])""",
}
_ONNX = """\
# {model}, version {version}

Needs `numpy`, `onnxruntime` and `tokenizers`; run it in this folder:

```python
import json

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

config = json.load(open("model.json", encoding="utf-8"))
tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.no_padding()
tokenizer.enable_truncation(config["max_length"])
session = onnxruntime.InferenceSession("{file}")

encoding = tokenizer.encode({text})
types = np.maximum.accumulate([sequence == 1 for sequence in encoding.sequence_ids])  # 1 from the second text on
feed = {{"input_ids": encoding.ids, "attention_mask": encoding.attention_mask, "token_type_ids": types}}
names = [entry.name for entry in session.get_inputs()]
logits = session.run(["logits"], {{name: np.array([feed[name]], dtype=np.int64) for name in names}})[0][0]
{read}
```

{note}

The file holds operators of onnxruntime's own (`com.microsoft`) and runs there alone. `manifest.json` has the SHA-256 of
every file; report and golden rows, which quote the data, are listed there but not exported. `README.md` is the
model card.
"""
_EMBEDDING = """\
For the embedding of a text, encode it alone and ask for the output `embedding` ({width} numbers, of unit length).
"""
_LONG = (
    "Texts beyond `max_length` word pieces are cut here; Thawline reads them in windows and puts the answers together."
)
_RULES = " It also keeps to the rules by which tags may follow each other."
_TRITON = """\
# {model}, version {version}, for Triton Inference Server

The folder above this one is a model repository; with the `onnxruntime` backend:

    tritonserver --model-repository=<that folder>

Triton does not tokenise: send `{inputs}` (INT64, one row a text, word pieces of `tokenizer.json`, {max_length}
at most) and read `logits`{labels}. `model.json` has the task and the labels. The instance group is set to the CPU,
where the model was measured.
"""


def onnx_usage(version: ModelVersion, predictor: Predictor) -> str:
    """For the files alone: a program that loads them and prints an answer."""
    task = predictor.task
    notes = [_LONG if task.windowed else "", _RULES if task.per_token else ""]
    if predictor.embedding_width is not None:
        notes.append(_EMBEDDING.format(width=predictor.embedding_width))
    return _ONNX.format(
        model=version.model,
        version=version.version,
        file=ONNX_FILES[predictor.precision],
        text=_example(task),
        read=_READ[task.objective],
        note="".join(notes).strip(),
    )


def triton_usage(version: ModelVersion, predictor: Predictor, *, labelled: bool) -> str:
    """For a model repository."""
    return _TRITON.format(
        model=version.model,
        version=version.version,
        inputs="`, `".join(predictor.input_names),
        max_length=predictor.windowing.max_length,
        labels=", whose columns `labels.txt` names" if labelled else "",
    )


def _example(task: Task[object]) -> str:
    if task.per_token:
        return _WORDS
    return _TEXT if task.windowed else _PAIR
