"""Check what the jobs wrote: prints `{"runs": [...], "pictures": n, "faults": [...]}`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from render.output import LEDGER


def main() -> None:
    print(json.dumps(summary(Path(sys.argv[1]))))


def summary(folder: Path) -> dict[str, Any]:
    """Return all runs in the ledger, and what is wrong with them or the files, in words."""
    ledger = folder / LEDGER
    runs = [json.loads(line) for line in ledger.read_text().splitlines()] if ledger.exists() else []
    faults = [fault for run in runs if (fault := fault_of(folder / f"{run['id']}.png", run))]
    pictures = {path.stem for path in folder.glob("*.png")}
    faults += [f"{name}.png: no run wrote it" for name in pictures - {run["id"] for run in runs}]
    return {"runs": runs, "pictures": len(pictures), "faults": faults}


def fault_of(path: Path, run: dict[str, Any]) -> str | None:
    try:
        with Image.open(path) as picture:
            picture.load()
    except OSError as error:
        return f"{path.name}: {error}"
    if picture.size != tuple(run["size"]):
        return f"{path.name}: {picture.size} pixels, not {tuple(run['size'])}"
    if picture.getextrema() == ((0, 0),) * 3:
        return f"{path.name}: all black"
    return None


if __name__ == "__main__":
    main()
