from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from longshore.worker.linux.exits import describe_exit
from longshore.worker.parent.children import processes
from longshore.worker.parent.children.processes import Process, debris, family, group, tree

V2, V1 = [each[1:] for each in processes._THROTTLED]


def process(pid: int, parent: int, *, leader: int = 1, state: str = "S") -> Process:
    return Process(pid, parent, leader, state, 0, 0)


SCENE = {
    each.pid: each
    for each in (
        process(1, 0),
        process(2, 1),  # zygote
        process(3, 2, leader=3),  # a child
        process(4, 3, leader=3),
        process(5, 3, leader=5),  # has fled the group
        process(6, 1, leader=9),  # orphan of a dead child
        process(7, 6, leader=7),
        process(8, 1, leader=9, state="Z"),
    )
}


def test_a_tree_holds_what_has_fled_the_group() -> None:
    assert tree(3, SCENE) == {3, 4, 5}
    assert group(3, SCENE) == {3, 4}


def test_debris_is_what_hangs_below_the_parent_beside_the_zygote() -> None:
    assert debris(1, SCENE, zygote=2) == {6, 7}


def test_a_family_holds_what_has_fled_below_a_member_of_the_group() -> None:
    assert family(9, SCENE) == {6, 7}
    assert family(7, SCENE) == {7}
    assert family(8, SCENE) == set()


def test_processes_are_read_from_proc() -> None:
    seen = processes.snapshot()
    me = seen[os.getpid()]
    assert me.parent == os.getppid()
    assert me.group == os.getpgrp()
    assert me.resident > 1_000_000
    assert me.is_alive


def test_only_the_process_that_was_seen_is_signalled() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    seen = processes.snapshot()
    other = {child.pid: Process(child.pid, 0, 0, "S", 1, 0)}
    processes.signal_each([child.pid], signal.SIGKILL, other)
    assert child.poll() is None
    processes.signal_each([child.pid], signal.SIGKILL, seen)
    assert child.wait(10) == -signal.SIGKILL


def test_a_process_began_before_now_and_after_its_parent() -> None:
    now = time.time_ns() // 1_000_000
    began = processes.began(now=now)
    program = (
        "import time; from longshore.worker.parent.children.processes import began; "
        "print(began(now=time.time_ns() // 1_000_000))"
    )
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    # A tick of the kernel's clock, and what the wall clock is put right by meanwhile.
    assert began < now <= int(child.stdout) + 200


_WORKS = """
import time
while time.process_time() < 0.1:
    pass
"""


def test_what_a_process_runs_is_told_apart_from_what_it_sleeps() -> None:
    before = processes.cpu_times()
    end = time.thread_time() + 0.05
    while time.thread_time() < end:
        pass
    worked = processes.cpu_times()
    subprocess.run([sys.executable, "-c", _WORKS], check=True)
    slept = processes.cpu_times()
    assert before
    assert worked
    assert slept
    assert worked.ran - before.ran >= 0.045
    assert slept.ran - worked.ran < 0.045


@pytest.mark.parametrize(
    ("text", "entry", "unit"),
    [
        pytest.param("nr_throttled 3\nthrottled_usec 9000000000000\n", *V2, id="v2"),
        pytest.param("nr_throttled 3\nthrottled_time 9000000000000000\n", *V1, id="v1"),
    ],
)
def test_what_the_own_limit_held_back_is_no_waiting(
    text: str, entry: bytes, unit: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.stat").write_text(text)
    files = (str(tmp_path / "nowhere"), entry, unit), (str(tmp_path / "cpu.stat"), entry, unit)
    monkeypatch.setattr(processes, "_THROTTLED", files)

    times = processes.cpu_times()

    assert processes._throttled() == 9e6
    assert times
    assert times.waited == 0


@pytest.mark.parametrize(
    ("status", "words"),
    [(0, "exited with code 0"), (3 << 8, "exited with code 3"), (11, "killed by SIGSEGV")],
)
def test_an_exit_in_words(status: int, words: str) -> None:
    assert describe_exit(status) == words
