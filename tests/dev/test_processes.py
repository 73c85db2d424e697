"""Who a pid is, and whom we may signal."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from dev import processes
from dev.cache import write_record
from dev.errors import DevError


@pytest.fixture
def foreign() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_a_living_process_is_who_it_was() -> None:
    identity = processes.identify(os.getpid())

    assert identity is not None
    assert identity.alive()


def test_a_pid_with_another_start_time_is_another_process() -> None:
    identity = processes.identify(os.getpid())
    assert identity is not None

    assert not replace(identity, started=identity.started - 1).alive()
    assert not replace(identity, boot="another boot").alive()


def test_a_process_that_has_ended_is_nobody(foreign: subprocess.Popen[bytes]) -> None:
    identity = processes.identify(foreign.pid)
    assert identity is not None

    foreign.kill()
    os.waitid(os.P_PID, foreign.pid, os.WEXITED | os.WNOWAIT)

    assert not identity.alive(), "a zombie is no process any more"


def test_a_name_with_brackets_and_spaces_does_not_mislead(tmp_path: Path) -> None:
    fields = ["S", *["0"] * 18, "4711", "0"]
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "stat").write_text(f"7 (a) R 1 (b) {' '.join(fields)}")
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text("boot\n")

    found = processes.identify(7, proc=tmp_path)

    assert found == processes.Identity(pid=7, started=4711, boot="boot")


def test_a_started_process_is_its_own_session_and_is_remembered(tmp_path: Path) -> None:
    identity = processes.start("sleeper", ["sleep", "60"], state=tmp_path)

    assert os.getsid(identity.pid) == identity.pid
    assert processes.remembered("sleeper", state=tmp_path) == identity

    processes.stop("sleeper", state=tmp_path)
    os.waitpid(identity.pid, 0)

    assert not identity.alive()
    assert processes.remembered("sleeper", state=tmp_path) is None


def test_a_stale_note_never_ends_the_process_that_has_the_pid_now(
    tmp_path: Path, foreign: subprocess.Popen[bytes]
) -> None:
    identity = processes.identify(foreign.pid)
    assert identity is not None
    stale = replace(identity, started=identity.started - 1)
    write_record(tmp_path / "etcd.pid", asdict(stale))

    processes.stop("etcd", state=tmp_path)
    processes.end([stale])

    assert foreign.poll() is None
    assert not (tmp_path / "etcd.pid").exists()


def test_who_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    script = "trap '' TERM; echo deaf; while :; do sleep 0.05; done"
    identity = processes.start("deaf", ["sh", "-c", script], state=tmp_path)
    while not (tmp_path / "deaf.log").read_text():
        pass

    processes.end([identity], first=signal.SIGTERM, patience=0.3)
    os.waitpid(identity.pid, 0)

    assert not identity.alive()


def test_a_program_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DevError, match="no-such-program is not installed"):
        processes.start("broken", ["no-such-program"], state=tmp_path)
