"""The one way to run a finished model: tokenizer + ONNX session + task. No torch, no database.

Evaluation, the parity gate and serving all use it, so what was measured is what is served.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models_store.errors import ArtifactCorruptError, UnavailableError
from models_store.execution import Device, Executor, Interrupt, executor_for
from models_store.precision import ONNX_FILES, Precision
from models_store.tasks import Encoded, Prediction, PredictOptions, Task, task_from_config
from models_store.tasks.base import encoded_from
from models_store.tokenizer import TOKENIZER_FILE, load_tokenizer
from models_store.windows import Logits, Window, Windowing, merge_all

CONFIG_FILE = "model.json"
DEFAULT_OPTIONS = PredictOptions()
BATCH_TOKENS = 512  # padded, at a time; 4096 take half as long again on a CPU, having outgrown its caches
LOGITS, EMBEDDING = "logits", "embedding"  # what the models' outputs are called


def _no_tick() -> None:
    """Nobody wants to know."""


class UnexpectedOutputError(RuntimeError):
    """The model's output is not of the shape that its task needs."""


class Predictor:
    """A finished model, ready to answer. `encode`, `infer` and `decode` are separate so that a server can batch.

    Attributes:
        task: What it answers.
        windowing: How it reads long texts.
        precision: The arithmetic it is run in.
        device: Where it runs.
        size_bytes: Of the file that was loaded.
        embedding_width: Of the vectors of `embed`; None for a model that is no sentence encoder.
        input_names: What is fed to the ONNX model.
    """

    def __init__(
        self,
        task: Task[Any],
        tokenizer: Tokenizer,
        executor: Executor,
        pad_id: int,
        windowing: Windowing,
        precision: Precision = Precision.FP32,
        size_bytes: int = 0,
        embedding_width: int | None = None,
    ) -> None:
        self.task = task
        self.windowing = windowing
        self.precision = precision
        self.size_bytes = size_bytes
        self.embedding_width = embedding_width
        self._tokenizer = tokenizer
        self._executor = executor
        self._pad_id = pad_id
        self.device = executor.device
        self.input_names = executor.input_names

    @classmethod
    def load(
        cls, folder: Path, threads: int = 0, precision: Precision | None = None, device: Device = Device.CPU
    ) -> Self:
        """Load the files of one version.

        Args:
            folder: Holds ``model.json``, ``tokenizer.json`` and the models themselves (`ONNX_FILES`).
            threads: CPU threads of one inference; 0 lets onnxruntime decide.
            precision: Which of the models; that which is to be served on the device unless given.
            device: Where to run it.

        Raises:
            ArtifactCorruptError: A file is missing or not what it should be.
            UnavailableError: The device cannot be used.
        """
        try:
            config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
            # Models from before there were windows have no stride: they cut texts, as they learnt them.
            windowing = Windowing(config["max_length"], config.get("stride"))
            tokenizer = load_tokenizer(folder / TOKENIZER_FILE, windowing.truncation)
            precision = precision or served_precision(config, device)
            path = folder / ONNX_FILES[precision]
            return cls(
                task_from_config(config["task"]),
                tokenizer,
                executor_for(path, threads, device),
                config["pad_id"],
                windowing,
                precision,
                path.stat().st_size,
                embedding_width(config),
            )
        except UnavailableError:
            raise
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
        logits = self._run(LOGITS, batch, self.task.n_outputs, interrupt, per_token=self.task.per_token)
        if self.task.per_token:
            return [rows[: len(encoded)] for rows, encoded in zip(logits, batch, strict=True)]
        return list(logits)

    def encode_texts(self, texts: Sequence[str]) -> list[Encoded]:
        """Word pieces of texts that are to be embedded, each by itself; what is too long is cut."""
        return [encoded_from(encoding) for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def embed(self, batch: Sequence[Encoded], interrupt: Interrupt | None = None) -> list[NDArray[np.float32]]:
        """Run one batch of single texts through a model that is a sentence encoder.

        Args:
            batch: What to run.
            interrupt: With which another thread may end it.

        Returns:
            The vector of each, of unit length: (`embedding_width`,).

        Raises:
            UnexpectedOutputError: The model gave something else.
        """
        return list(self._run(EMBEDDING, batch, self.embedding_width, interrupt))

    def decode(self, logits: Logits, example: Any, encoded: Encoded, options: PredictOptions) -> Prediction:
        """The answer for one example; says so when its text was cut."""
        prediction = self.task.decode(logits, example, encoded, options)
        if encoded.truncated:
            prediction["truncated"] = True
        return prediction

    def logits(
        self, encoded: Sequence[Encoded], batch_tokens: int = BATCH_TOKENS, tick: Callable[[], None] = _no_tick
    ) -> list[Logits]:
        """Logits of any number of examples, one array each, in the order given; windows are batched by length.

        ``tick`` is called before each batch; what it raises ends the work.
        """
        owned = [self.windows(e) for e in encoded]
        flat = [window.encoded for windows in owned for window in windows]
        return self.merge(owned, _in_batches(self.infer, flat, batch_tokens, tick))

    def embeddings(self, encoded: Sequence[Encoded]) -> list[NDArray[np.float32]]:
        """What `embed` gives for any number of texts, in the order given; they are batched by length."""
        return _in_batches(self.embed, encoded, BATCH_TOKENS)

    def predict(
        self,
        examples: Sequence[Any],
        options: PredictOptions = DEFAULT_OPTIONS,
        batch_tokens: int = BATCH_TOKENS,
        tick: Callable[[], None] = _no_tick,
    ) -> list[Prediction]:
        """Answers for parsed examples, in the order given; of ``tick`` see `logits`."""
        encoded = self.encode(examples)
        rows = zip(self.logits(encoded, batch_tokens, tick), examples, encoded, strict=True)
        return [self.decode(values, example, e, options) for values, example, e in rows]

    def _run(
        self,
        output: str,
        batch: Sequence[Encoded],
        width: int | None,
        interrupt: Interrupt | None,
        *,
        per_token: bool = False,
    ) -> NDArray[np.float32]:
        """An output of the model for a batch, without the rows that only fill it up."""
        feed = self._feed(batch)
        values = self._executor.run(output, feed, interrupt)
        shape = feed["input_ids"].shape
        expected = (*(shape if per_token else shape[:1]), width)
        if values.shape != expected:
            raise UnexpectedOutputError(f"the model's {output} have the shape {values.shape}, not {expected}")
        return values[: len(batch)]

    def _feed(self, batch: Sequence[Encoded]) -> dict[str, NDArray[np.int64]]:
        shape = self._executor.padded(len(batch), max(len(encoded) for encoded in batch))
        ids = np.full(shape, self._pad_id, dtype=np.int64)
        mask = np.zeros(shape, dtype=np.int64)
        mask[len(batch) :, 0] = 1  # rows that only fill the batch: a softmax over nothing is no number
        types = np.zeros(shape, dtype=np.int64)
        for row, encoded in enumerate(batch):
            length = len(encoded)
            ids[row, :length] = encoded.input_ids
            mask[row, :length] = 1
            types[row, :length] = encoded.type_ids
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        return {name: array for name, array in feed.items() if name in self.input_names}


def served_precision(config: Mapping[str, Any], device: Device = Device.CPU) -> Precision:
    """Of what is in a version's `CONFIG_FILE`; versions from before there was a choice have single precision alone."""
    return Precision(config.get("gpu_precision" if device is Device.CUDA else "precision", Precision.FP32))


def embedding_width(config: Mapping[str, Any]) -> int | None:
    """Of what is in a version's `CONFIG_FILE`: the width of its vectors; None where it is no sentence encoder."""
    embedding = config.get("embedding")
    return int(embedding["width"]) if embedding else None


def _in_batches(
    run: Callable[[Sequence[Encoded]], list[NDArray[np.float32]]],
    encoded: Sequence[Encoded],
    batch_tokens: int,
    tick: Callable[[], None] = _no_tick,
) -> list[NDArray[np.float32]]:
    results: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(encoded)
    for indices in batches_by_length([len(e) for e in encoded], batch_tokens):
        tick()
        for index, values in zip(indices, run([encoded[i] for i in indices]), strict=True):
            results[index] = values
    return results


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
