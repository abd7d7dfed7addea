"""A pipeline behind LitServe, which makes batches of what waits.

python litserve_app.py FOLDER BACKEND PORT
"""

from __future__ import annotations

import sys
from typing import Any

import litserve as ls
from pipelines import load


class Classifier(ls.LitAPI):  # type: ignore[misc]
    """Requests of one text each; `predict` gets a batch of them."""

    def __init__(self, folder: str, backend: str) -> None:
        # Without a timeout a batch is what waits already, and a text that comes alone goes at once.
        super().__init__(max_batch_size=16, batch_timeout=0.0)
        self.folder, self.backend = folder, backend

    def setup(self, device: str) -> None:
        """Load the model in the process that runs it."""
        self.classify = load(self.folder, self.backend)

    def decode_request(self, request: dict[str, str]) -> str:
        """The text."""
        return request["text"]

    def predict(self, texts: list[str]) -> Any:
        """Answers of a batch."""
        return self.classify(texts, batch_size=len(texts))

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """As the pipeline has it."""
        return output


if __name__ == "__main__":
    folder, backend, port = sys.argv[1:]
    server = ls.LitServer(Classifier(folder, backend), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(port), num_api_servers=1, log_level="warning", generate_client_file=False)
