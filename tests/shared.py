"""What is dear to make and serves all processes of one run of the tests."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dev import processes
from dev.cache import read_record, write_record
from dev.processes import Identity

RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID") or f"alone-{os.getpid()}"
FOLDER = Path(tempfile.gettempdir())


class NotMade(Exception):
    """Another process of this run could not make it; that one's test tells why."""


@contextmanager
def shared(
    name: str,
    *,
    make: Callable[[], object],
    remove: Callable[[], object] = lambda: None,
    folder: Path = FOLDER,
    run: str = RUN,
) -> Iterator[None]:
    """The first process to need it makes it, the last one to leave removes it.

    Raises NotMade in every process after one in which `make` raised.
    """
    record = folder / f"longshore-tests-{run}-{name}"
    me = processes.identify(os.getpid())
    assert me is not None
    with _locked(record):
        known = read_record(record)
        if known.get("failed"):
            raise NotMade(f"{name}: {known['failed']}")
        users = _living(known)
        if not users:
            try:
                make()
            except BaseException as error:
                write_record(record, {"failed": repr(error)})
                raise
        _write(record, [*users, me])
    try:
        yield
    finally:
        with _locked(record):
            others = [each for each in _living(read_record(record)) if each != me]
            _write(record, others)
            if not others:
                remove()


def _living(known: dict[str, Any]) -> list[Identity]:
    found = [Identity(**each) for each in known.get("users", ())]
    return [each for each in found if each.alive()]


def _write(record: Path, users: list[Identity]) -> None:
    write_record(record, {"users": [asdict(each) for each in users]})


@contextmanager
def _locked(record: Path) -> Iterator[None]:
    with record.with_suffix(".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
