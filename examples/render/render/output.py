"""Where results go: one picture for each job, and a ledger of the completed runs."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from longshore import Job

LEDGER = "ledger.jsonl"


@dataclass(frozen=True, kw_only=True)
class Output:
    """A folder that several pods write to at the same time."""

    folder: Path

    @classmethod
    def from_environment(cls) -> Output:
        return cls(folder=Path(os.environ.get("OUTPUT", "/output")))

    def save(self, picture: Image.Image, *, job: Job, handler: str, started_ms: int) -> None:
        """Write the picture, then the ledger: a line means that the file is complete."""
        unfinished = self.folder / f".{job.id}.{os.getpid()}"
        picture.save(unfinished, format="PNG")
        unfinished.replace(self.folder / f"{job.id}.png")
        self._note(
            id=job.id,
            handler=handler,
            attempt=job.attempt,
            pod=os.environ.get("LONGSHORE_POD_NAME") or os.uname().nodename,
            started_ms=started_ms,
            ended_ms=now_ms(),
            size=picture.size,
        )

    def _note(self, **line: object) -> None:
        # One write with O_APPEND, so the lines of several processes never mix.
        ledger = os.open(self.folder / LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(ledger, json.dumps(line).encode() + b"\n")
        finally:
            os.close(ledger)


def now_ms() -> int:
    return int(time.time() * 1000)
