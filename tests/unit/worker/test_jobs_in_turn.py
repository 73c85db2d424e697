"""What one job leaves behind does not change how the next one ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.worker.kid import found_by_kids

_NOTHING = "await await asyncio.sleep(0)"
_IN_A_THREAD = "await await asyncio.to_thread(int)"
_FAILS = "raise ValueError('of its own')"

# What the jobs of one child do, one after another, and how each is to end.
CASES: dict[str, list[tuple[str, str | None]]] = {
    "a sync job closes the loop of async ones": [
        (_NOTHING, "succeeded"),
        ("loop = asyncio.get_event_loop(); loop.close()", "succeeded"),
        (_NOTHING, "succeeded"),
    ],
    "the loop's threads are shut down": [
        ("await await asyncio.get_running_loop().shutdown_default_executor()", "succeeded"),
        (_IN_A_THREAD, "succeeded"),
    ],
    "the loop's threads are a job's own and end with it": [
        (
            "await from concurrent.futures import ThreadPoolExecutor as Threads\n"
            "    with Threads() as own: asyncio.get_running_loop().set_default_executor(own)",
            "succeeded",
        ),
        (_IN_A_THREAD, "succeeded"),
    ],
    "a callback that is left behind stops the loop": [
        (
            "await l = asyncio.get_running_loop()\n"
            "    turn = lambda left: l.call_soon(turn, left - 1) if left else l.stop()\n"
            "    turn(100)",
            "succeeded",
        ),
        ("await [await asyncio.sleep(0) for _ in range(200)]", "succeeded"),
        ("await await asyncio.sleep(0); raise ValueError", "failed"),
    ],
    "a job stops the loop itself": [
        ("await asyncio.get_running_loop().stop(); await asyncio.sleep(0)", "succeeded"),
    ],
    "json is another library's": [
        ("json.dumps = json.loads = json.JSONEncoder.encode = None", "succeeded"),
        (_FAILS, "failed"),
    ],
    "functions of os are mocks": [
        ("os.getpid = lambda: 1; os.write = None", "succeeded"),
        (_FAILS, "failed"),
    ],
    "the clock is frozen, and thawed": [
        ("time.kept = time.monotonic; time.monotonic = lambda: 1e9", "succeeded"),
        ("time.monotonic = time.kept", "succeeded"),
        ("time.monotonic = None", "succeeded"),
        (_FAILS, "failed"),
    ],
    "the streams are gone": [
        ("del sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__", "succeeded"),
        (_FAILS, "failed"),
    ],
    "all descriptors are closed, and their numbers are another file's": [
        ("os.closerange(3, 200); files = [open('VICTIM', 'a') for _ in range(50)]", None),
        ("files = [open('VICTIM', 'a') for _ in range(50)]", "succeeded"),
    ],
}


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of a job's own."""
    return tmp_path_factory.mktemp("kid") / "victim"


@pytest.fixture(scope="module")
def ends(victim: Path) -> dict[str, Any]:
    """How the jobs of each case really ended."""
    jobs = {
        name: [statements.replace("VICTIM", str(victim)) for statements, _ in case]
        for name, case in CASES.items()
    }
    return found_by_kids(jobs, answer=victim.with_name("answer"))


@pytest.mark.parametrize("name", CASES)
def test_each_job_ends_by_its_own_doing(name: str, ends: dict[str, Any]) -> None:
    assert ends[name] == [end for _, end in CASES[name]]


def test_nothing_is_written_into_files_of_jobs(victim: Path, ends: dict[str, Any]) -> None:
    assert ends
    assert victim.read_bytes() == b""
