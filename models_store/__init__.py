"""Everything durable, and the one way to run a finished model."""

import os

# onnxruntime reports to its makers over the network, and keeps an identifier on disk, unless it is told not to before
# its first import. A service that people host themselves, for their own data, must not; an operator may want it anyway.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
