"""What can go wrong while training."""

from __future__ import annotations

from models_store.errors import ThawlineError


class StoppedError(Exception):
    """The checkpoint that was asked for has been written, or could not be: the process may end."""


class PeerLostError(Exception):
    """Another process of the training has ended, which says why; this one can do nothing by itself."""


class HardwareError(ThawlineError):
    """The worker's machine lacks what the job or the settings ask for."""

    code = "hardware_missing"


class DivergedError(ThawlineError):
    """The loss is no longer a finite number, or many times what it was before training."""

    code = "diverged"


class OutOfMemoryError(ThawlineError):
    """Not even one row at a time fits into memory."""

    code = "out_of_memory"


class EncoderError(ThawlineError):
    """The base encoder cannot be used: missing, altered or of an unknown kind."""

    code = "encoder_unusable"


class ParityError(ThawlineError):
    """The exported model answers differently from the trained one; it must not be published."""

    code = "parity_failed"


_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")  # CUDA, CPU, cuBLAS


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; torch has a type of its own for CUDA, and none for the CPU."""
    if isinstance(error, MemoryError | OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)
