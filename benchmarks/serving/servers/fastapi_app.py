"""A pipeline behind FastAPI, as tutorials write it: a call a text, no batches.

python fastapi_app.py FOLDER BACKEND PORT
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI
from pipelines import load
from pydantic import BaseModel


class Request(BaseModel):
    """One text."""

    text: str


def main(folder: str, backend: str, port: str) -> None:
    """Serve until a signal."""
    classify = load(folder, backend)
    app = FastAPI()

    @app.post("/predict")  # not `async`: FastAPI then calls it in threads, which is several times as fast here
    def predict(request: Request) -> Any:
        return classify(request.text)[0]

    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])
