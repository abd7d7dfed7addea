"""What can go wrong while training."""

from __future__ import annotations

from models_store.errors import ThawlineError


class DivergedError(ThawlineError):
    """The loss is no longer a finite number, or many times what it was before training."""

    code = "diverged"


class EncoderError(ThawlineError):
    """The base encoder cannot be used: missing, altered or of an unknown kind."""

    code = "encoder_unusable"


class ParityError(ThawlineError):
    """The exported model answers differently from the trained one; it must not be published."""

    code = "parity_failed"
