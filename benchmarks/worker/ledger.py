"""The count of jobs that ran, kept by the jobs themselves, the same way in every contender.

Each thread that runs jobs adds to a word of its own in a file that it maps into memory, which costs
a tenth of a microsecond and needs no lock. Standard library only.
"""

import mmap
import os
import struct
import threading
from pathlib import Path

LEDGER_ENV = "BENCH_LEDGER"
"""Folder in which each thread keeps its file."""

_own = threading.local()
_WORD = struct.Struct("=Q")


def count() -> None:
    """Note that one job runs here."""
    # A process is forked before its first job, never after: no child inherits an open page.
    try:
        _own.page[0] += 1
    except AttributeError:
        _own.page = _open()
        _own.page[0] += 1


def total(folder: Path) -> int:
    """Jobs run so far by all that share `folder`."""
    words = (path.read_bytes()[: _WORD.size] for path in folder.iterdir())
    # A file that was made a moment ago may still be empty.
    return sum(_WORD.unpack(word)[0] for word in words if word)


def _open() -> memoryview:
    path = Path(os.environ[LEDGER_ENV]) / f"{os.getpid()}-{threading.get_native_id()}"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.ftruncate(descriptor, mmap.PAGESIZE)
        return memoryview(mmap.mmap(descriptor, mmap.PAGESIZE)).cast("Q")
    finally:
        os.close(descriptor)
