"""When a child looks at everything that a job may have changed, and when at the least only."""

from __future__ import annotations

import subprocess
import sys

import pytest

START = """
import os, signal, sys, time
from longshore.worker.child import state
from longshore.worker.child.state import TRUSTED_AFTER, ProcessState

told = os.dup(1)
_, output = os.pipe()
clock = 1.0
state.monotonic = lambda: clock
results = os.pipe()[1]
child = ProcessState(output, results, on_alarm=lambda *_: None)

def spoil():
    os.umask(0o777)

def spoiled():
    before = os.umask(0o22)
    os.umask(before)
    return before == 0o777

def say(what):
    os.write(told, f"{what}\\n".encode())

def end(handler):
    child.job_has_ended(after=handler)
    return child.restore()

def trust(handler):
    for _ in range(TRUSTED_AFTER):
        assert end(handler)

os.umask(0o22)
"""


def said(script: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", START + script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_what_a_handler_that_is_not_trusted_changes_is_put_right_at_once() -> None:
    assert said("spoil(); end('h'); say(spoiled())") == ["False"]


def test_what_a_trusted_handler_changes_is_put_right_with_the_next_full_look() -> None:
    script = """
trust("h")
spoil()
end("h")
say(spoiled())
clock += state.LOOK_INTERVAL
end("h")
say(spoiled())
"""
    assert said(script) == ["True", "False"]


def test_writers_wait_for_room_whoever_was_trusted() -> None:
    script = """
trust("h")
os.set_blocking(output, False)
end("h")
say(os.get_blocking(output))
"""
    assert said(script) == ["True"]


@pytest.mark.parametrize("lost", ["output", "results"])
def test_a_child_that_has_lost_what_it_tells_ends_with_ends(lost: str) -> None:
    assert said(f"os.dup2(told, {lost}); say(end('h'))") == ["False"]
    assert said(f"os.close({lost}); say(end('h'))") == ["False"]


def test_who_has_changed_something_once_is_not_trusted_again() -> None:
    script = """
trust("h")
spoil()
clock += state.LOOK_INTERVAL
end("h")
trust("h")
spoil()
end("h")
say(spoiled())
"""
    assert said(script) == ["False"]


def test_all_handlers_since_the_latest_look_are_suspected() -> None:
    script = """
trust("a")
trust("b")
spoil()
end("a")
clock += state.LOOK_INTERVAL
end("b")
for handler in ("a", "b"):
    spoil()
    end(handler)
    say(spoiled())
"""
    assert said(script) == ["False", "False"]


@pytest.mark.parametrize(
    ("change", "look"),
    [
        ("os.close(1)", "os.fstat(1).st_ino != os.fstat(output).st_ino"),
        ("os.dup2(told, 2)", "os.fstat(2).st_ino != os.fstat(output).st_ino"),
        ("signal.signal(signal.SIGALRM, signal.SIG_IGN)", "not callable(signal.getsignal(14))"),
        (
            "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})",
            "signal.pthread_sigmask(signal.SIG_BLOCK, ())",
        ),
        ("sys.stdout = None", "sys.stdout is None"),
    ],
)
def test_what_longshore_relies_on_is_put_right_at_once_whoever_is_trusted(
    change: str, look: str
) -> None:
    script = f"trust('h'); {change}; end('h'); say(bool({look}))"
    assert said(script) == ["False"]
