"""The one way to run a finished model: tokenizer + ONNX session + task. No torch, no database.

Evaluation, the parity gate and serving all use it, so what was measured is what is served.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models_store.errors import ArtifactCorruptError
from models_store.precision import ONNX_FILES, Precision
from models_store.tasks import Encoded, Prediction, PredictOptions, Task, task_from_config
from models_store.tokenizer import TOKENIZER_FILE, load_tokenizer
from models_store.windows import Logits, Window, Windowing, merge_all

CONFIG_FILE = "model.json"
DEFAULT_OPTIONS = PredictOptions()
BATCH_TOKENS = 512  # padded, at a time; 4096 take half as long again on a CPU, having outgrown its caches
_LOGITS = "logits"


class UnexpectedOutputError(RuntimeError):
    """The model's output is not of the shape that its task needs."""


class Interrupt:
    """Ends an inference that is under way, from another thread: it raises as soon as the operator at hand is done."""

    def __init__(self) -> None:
        self.run_options = ort.RunOptions()

    def set(self) -> None:
        """End it."""
        self.run_options.terminate = True

    def is_set(self) -> bool:
        """Whether it was told to end."""
        return bool(self.run_options.terminate)


class Predictor:
    """A finished model, ready to answer. `encode`, `infer` and `decode` are separate so that a server can batch.

    Attributes:
        task: What it answers.
        windowing: How it reads long texts.
        precision: The arithmetic it is run in.
        size_bytes: Of the file that was loaded.
    """

    def __init__(
        self,
        task: Task[Any],
        tokenizer: Tokenizer,
        session: ort.InferenceSession,
        pad_id: int,
        windowing: Windowing,
        precision: Precision = Precision.FP32,
        size_bytes: int = 0,
    ) -> None:
        self.task = task
        self.windowing = windowing
        self.precision = precision
        self.size_bytes = size_bytes
        self._tokenizer = tokenizer
        self._session = session
        self._pad_id = pad_id
        self._input_names = {entry.name for entry in session.get_inputs()}

    @classmethod
    def load(cls, folder: Path, threads: int = 0, precision: Precision | None = None) -> Self:
        """Load the files of one version.

        Args:
            folder: Holds ``model.json``, ``tokenizer.json`` and the models themselves (`ONNX_FILES`).
            threads: CPU threads of one inference; 0 lets onnxruntime decide.
            precision: Which of the models; that which is to be served unless given.

        Raises:
            ArtifactCorruptError: A file is missing or not what it should be.
        """
        try:
            config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
            # Models from before there were windows have no stride: they cut texts, as they learnt them.
            windowing = Windowing(config["max_length"], config.get("stride"))
            tokenizer = load_tokenizer(folder / TOKENIZER_FILE, windowing.truncation)
            precision = precision or served_precision(config)
            path = folder / ONNX_FILES[precision]
            task = task_from_config(config["task"])
            size = path.stat().st_size
            return cls(task, tokenizer, _session(path, threads), config["pad_id"], windowing, precision, size)
        except Exception as error:  # the libraries raise bare Exceptions of their own
            raise ArtifactCorruptError(f"the model's files cannot be loaded: {error}") from error

    def encode(self, examples: Sequence[Any]) -> list[Encoded]:
        """Word pieces of parsed examples. Cheap and safe to call from several threads."""
        return self.task.encode(self._tokenizer, examples)

    def windows(self, encoded: Encoded) -> list[Window]:
        """What `infer` takes of one example: all of it, or its windows where it is longer than the encoder takes."""
        return self.windowing.windows(encoded)

    def merge(self, windows: Iterable[Sequence[Window]], logits: Iterable[Logits]) -> list[Logits]:
        """The logits of each example from those of all windows, which follow each other example by example."""
        return merge_all(windows, logits, per_token=self.task.per_token)

    def infer(self, batch: Sequence[Encoded], interrupt: Interrupt | None = None) -> list[NDArray[np.float32]]:
        """Run one batch of windows.

        Args:
            batch: What to run.
            interrupt: With which another thread may end it.

        Returns:
            The logits of each: (n_outputs,), or (length, n_outputs) for a task per token.

        Raises:
            UnexpectedOutputError: The model gave something else.
        """
        feed = self._feed(batch)
        logits = self._session.run([_LOGITS], feed, interrupt.run_options if interrupt else None)[0]
        width = (self.task.n_outputs,)
        expected = feed["input_ids"].shape + width if self.task.per_token else (len(batch), *width)
        if logits.shape != expected:
            raise UnexpectedOutputError(f"the model's output has the shape {logits.shape}, not {expected}")
        if self.task.per_token:
            return [rows[: len(encoded)] for rows, encoded in zip(logits, batch, strict=True)]
        return list(logits)

    def decode(self, logits: Logits, example: Any, encoded: Encoded, options: PredictOptions) -> Prediction:
        """The answer for one example; says so when its text was cut."""
        prediction = self.task.decode(logits, example, encoded, options)
        if encoded.truncated:
            prediction["truncated"] = True
        return prediction

    def logits(self, encoded: Sequence[Encoded], batch_tokens: int = BATCH_TOKENS) -> list[Logits]:
        """Logits of any number of examples, one array each, in the order given; windows are batched by length."""
        owned = [self.windows(e) for e in encoded]
        flat = [window for windows in owned for window in windows]
        results: list[Logits] = [np.empty(0)] * len(flat)
        for indices in batches_by_length([len(window) for window in flat], batch_tokens):
            for index, values in zip(indices, self.infer([flat[i].encoded for i in indices]), strict=True):
                results[index] = values
        return self.merge(owned, results)

    def predict(
        self, examples: Sequence[Any], options: PredictOptions = DEFAULT_OPTIONS, batch_tokens: int = BATCH_TOKENS
    ) -> list[Prediction]:
        """Answers for parsed examples, in the order given."""
        encoded = self.encode(examples)
        rows = zip(self.logits(encoded, batch_tokens), examples, encoded, strict=True)
        return [self.decode(values, example, e, options) for values, example, e in rows]

    def _feed(self, batch: Sequence[Encoded]) -> dict[str, NDArray[np.int64]]:
        shape = (len(batch), max(len(encoded) for encoded in batch))
        ids = np.full(shape, self._pad_id, dtype=np.int64)
        mask = np.zeros(shape, dtype=np.int64)
        types = np.zeros(shape, dtype=np.int64)
        for row, encoded in enumerate(batch):
            length = len(encoded)
            ids[row, :length] = encoded.input_ids
            mask[row, :length] = 1
            types[row, :length] = encoded.type_ids
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        return {name: array for name, array in feed.items() if name in self._input_names}


def served_precision(config: Mapping[str, Any]) -> Precision:
    """Of what is in a version's `CONFIG_FILE`; versions from before there was a choice have single precision alone."""
    return Precision(config.get("precision", Precision.FP32))


def batches_by_length(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Cut indices into batches of similar length with at most ``batch_tokens`` padded tokens (or one example)."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        # Sorted by length, so the newest member is the longest and sets the padded width.
        if batch and lengths[index] * (len(batch) + 1) > batch_tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _session(path: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads would steal the cores that the web server and other models need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
