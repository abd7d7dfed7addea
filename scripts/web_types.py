"""Write the page's types, ``web/src/openapi.d.ts``, by the service's own description of its HTTP interface."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from api.main import create_app
from models_store.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
TYPES = ROOT / "web" / "src" / "openapi.d.ts"


def main(output: Path = TYPES) -> None:
    """Write the file."""
    with tempfile.TemporaryDirectory() as folder:
        document = Path(folder) / "openapi.json"
        settings = Settings(_env_file=None, home=Path(folder))
        document.write_text(json.dumps(create_app(settings).openapi()), encoding="utf-8")
        program = ROOT / "web" / "node_modules" / "openapi-typescript" / "bin" / "cli.js"
        node = Path(sys.executable).with_name("node")
        subprocess.run(
            [str(node), str(program), str(document), "--output", str(output)], check=True, capture_output=True
        )


if __name__ == "__main__":
    main()
