"""Things made once: named after the content of their inputs, and there wholly or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dev import paths

KEY_LENGTH = 12
NOT_SOURCE = {"__pycache__", ".git", ".DS_Store"}


def content_key(*, files: Iterable[Path] = (), values: Iterable[str] = ()) -> str:
    """12 hex digits of all files (folders: everything in them) and values that a thing is made of.

    Files count by their path below the given folder, so the key is the same in every checkout.
    """
    digest = hashlib.sha256()
    for value in values:
        digest.update(b"value\0" + value.encode() + b"\0")
    for top in files:
        for path in sorted(_files_below(top)):
            name = path.relative_to(top.parent).as_posix()
            executable = b"x" if os.access(path, os.X_OK) else b"-"
            digest.update(b"file\0" + name.encode() + b"\0" + executable)
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:KEY_LENGTH]


def made_once(name: str, *, key: str, make: Callable[[Path], None]) -> Path:
    """The folder CACHE/NAME-KEY, made by `make` in a temporary one and renamed when complete."""
    place = paths.cache() / f"{name}-{key}"
    if place.is_dir():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    try:
        make(unfinished)
        unfinished.chmod(0o755)
        unfinished.rename(place)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    _forget_older(place, name=name)
    return place


def write_record(path: Path, record: object) -> None:
    """Write JSON so that a reader sees the old record or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.write_text(json.dumps(record, indent=2) + "\n")
    unfinished.replace(path)


def read_record(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return found


@contextmanager
def lock(name: str) -> Iterator[None]:
    """One process at a time; the kernel drops the lock of one that dies."""
    place = paths.cache() / f"{name}.lock"
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _files_below(top: Path) -> Iterator[Path]:
    if top.is_file():
        yield top
        return
    for folder, folders, files in os.walk(top):
        folders[:] = [each for each in folders if each not in NOT_SOURCE]
        yield from (Path(folder) / each for each in files if each not in NOT_SOURCE)


def _forget_older(place: Path, *, name: str) -> None:
    """Keep one predecessor: switching between two branches must not rebuild each time."""
    prefix = f"{Path(name).name}-"
    others = [
        each
        for each in place.parent.iterdir()
        if each != place and each.name.startswith(prefix) and len(each.name) == len(place.name)
    ]
    for outdated in sorted(others, key=lambda each: each.stat().st_mtime, reverse=True)[1:]:
        shutil.rmtree(outdated, ignore_errors=True)
