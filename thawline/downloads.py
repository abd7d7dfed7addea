"""Bodies that are written to disk as they come."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import httpx

from thawline.asking import Engine
from thawline.errors import Unavailable
from thawline.plans import Plan, Read
from thawline.requests import Request


def download(engine: Engine, request: Request, path: str | os.PathLike[str]) -> Plan[Path]:
    """Write a body to a file, which is there only once it is whole.

    Raises:
        Unavailable: The connection broke on the way, each time.
        OSError: The file cannot be written, or its folder does not exist.
    """
    target = Path(path)
    target = target / f"{request.path.rsplit('/', 1)[-1]}" if target.is_dir() else target
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder; make it first", str(target.parent))
    part = target.with_name(f".{target.name}.part")
    tries = 0
    try:
        while True:
            yield from engine.open(request)
            try:
                with part.open("wb") as file:
                    while (chunk := (yield Read())) is not None:
                        file.write(chunk)
                break
            except httpx.RequestError as error:
                if tries >= engine.retries.most:
                    raise Unavailable(f"the download from {engine.url} broke off: {error}") from error
                tries += 1
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target
