"""A pipeline behind Triton by way of PyTriton, whose server makes batches of what waits.

python pytriton_app.py FOLDER BACKEND PORT
"""

from __future__ import annotations

import os
import socket
import sys
import sysconfig
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pipelines import load
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

_HOST = "127.0.0.1"


def main(folder: str, backend: str, port: str) -> None:
    """Serve until a signal."""
    classify = load(folder, backend)

    @batch  # type: ignore[untyped-decorator]
    def answer(text: NDArray[Any]) -> dict[str, NDArray[Any]]:
        texts = [one.decode() for one in text[:, 0]]
        found = classify(texts, batch_size=len(texts))
        return {
            "label": np.array([[one["label"].encode()] for one in found]),
            "score": np.array([[one["score"]] for one in found], dtype=np.float32),
        }

    # Its server loads the first libpython it finds, which must be that of the modules it will import.
    os.environ["LD_LIBRARY_PATH"] = str(sysconfig.get_config_var("LIBDIR"))
    config = TritonConfig(
        http_address=_HOST, http_port=int(port), grpc_address=_HOST, grpc_port=_free_port(), allow_metrics=False
    )
    with Triton(config=config, workspace="workspace") as triton:
        triton.bind(
            "classifier",
            answer,
            inputs=[Tensor(name="text", dtype=bytes, shape=(1,))],
            outputs=[Tensor(name="label", dtype=bytes, shape=(1,)), Tensor(name="score", dtype=np.float32, shape=(1,))],
            # Without a delay a batch is what waits already, and a text that comes alone goes at once.
            config=ModelConfig(max_batch_size=16, batcher=DynamicBatcher()),
        )
        triton.serve()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main(*sys.argv[1:])
