"""Load a base encoder from a local folder: safetensors only, no code from the folder, checksum where known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedModel

from models_store.artifacts import file_sha256
from models_store.encoders import CONFIG_FILE, WEIGHTS_FILE, EncoderSource
from models_store.tokenizer import MAX_LENGTH, TOKENIZER_FILE, load_tokenizer
from worker.training.errors import EncoderError


@dataclass(frozen=True, slots=True)
class LoadedEncoder:
    """An encoder and what its inputs must look like."""

    model: PreTrainedModel
    tokenizer_path: Path
    max_length: int
    pad_id: int

    def tokenizer(self, max_length: int | None) -> Tokenizer:
        """The raw tokenizer, truncating to ``max_length`` pieces, if to any."""
        return load_tokenizer(self.tokenizer_path, max_length)


def load_encoder(source: EncoderSource) -> LoadedEncoder:
    """Load configuration, weights and tokenizer.

    Raises:
        EncoderError: A file is missing, the weights are altered, or the configuration asks for code of its own.
    """
    for name in (CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE):
        if not (source.folder / name).is_file():
            raise EncoderError(f"base_model {source.name!r} lacks {name}")
    _check_weights(source)
    try:
        config = AutoConfig.from_pretrained(source.folder, local_files_only=True, trust_remote_code=False)
        # Eager attention: its exported graph is the one that onnxruntime fuses (decision 0003).
        model = AutoModel.from_pretrained(
            source.folder,
            config=config,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,  # whatever the file holds: optimizer and export count on it
            attn_implementation="eager",
        )
    except (OSError, ValueError, KeyError) as error:
        raise EncoderError(f"base_model {source.name!r} cannot be loaded: {error}") from error
    if hasattr(model, "pooler"):
        model.pooler = None  # an untrained or foreign pooler; heads read the hidden states
    positions = int(getattr(config, "max_position_embeddings", MAX_LENGTH)) - _reserved_positions(model)
    pad_id = int(getattr(config, "pad_token_id", 0) or 0)
    return LoadedEncoder(model, source.folder / TOKENIZER_FILE, min(positions, MAX_LENGTH), pad_id)


def _reserved_positions(model: PreTrainedModel) -> int:
    """Rows of the position embedding that no text uses: RoBERTa and its kin count from behind the padding's id."""
    named = (part for name, part in model.named_modules() if name.endswith("position_embeddings"))
    paddings = (table.padding_idx for table in named if isinstance(table, nn.Embedding))
    return max((padding + 1 for padding in paddings if padding is not None), default=0)


def _check_weights(source: EncoderSource) -> None:
    if source.weights_sha256 is None:
        return
    if file_sha256(source.folder / WEIGHTS_FILE) != source.weights_sha256:
        raise EncoderError(f"base_model {source.name!r}: the weights differ from the official file")
