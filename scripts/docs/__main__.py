"""``make docs``: collect the pages in `build/docs` and build the site in `build/site`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from scripts.docs.pages import collect

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Build; the exit status is 1 where a link leads nowhere."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=ROOT / "build", help="folder for pages and site")
    output: Path = parser.parse_args().output.resolve()
    collect(ROOT, output / "docs")
    # The site generator finds both folders beside its configuration.
    config = output / "mkdocs.yml"
    config.write_text((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), encoding="utf-8")
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "--config-file", str(config)]
    status = subprocess.run(command, cwd=output, check=False).returncode
    if status == 0:
        site = output / "site"
        sys.stdout.write(f"The site is in {site}. Look at it: python3 -m http.server -b 127.0.0.1 -d {site}\n")
    return 1 if status else 0


if __name__ == "__main__":
    sys.exit(main())
