"""Which process runs which test: scheduling.py."""

from __future__ import annotations

import uuid
from types import SimpleNamespace
from typing import cast

import pytest
from xdist.workermanage import WorkerController

from dev.cache import write_record
from tests.scheduling import (
    ALONE,
    CLUSTER,
    COMPUTING,
    WAITING,
    Lanes,
    LaneScheduling,
    _notes,
    lane_of,
)

UNIT = "tests/unit/test_a.py::test_a"
WAITS = "tests/integration/test_b.py::test_b"
E2E = "tests/e2e/test_c.py::test_c"
RESTART = "tests/e2e/test_d.py::test_d"
RUN = uuid.uuid4().hex
ANY = (CLUSTER, WAITING, COMPUTING)


@pytest.mark.parametrize(
    ("test", "lane"),
    [
        (UNIT, COMPUTING),
        (WAITS, WAITING),
        (E2E, CLUSTER),
        ("tests/dev/test_lifecycle.py::test_a", CLUSTER),
        ("tests/dev/test_cache.py::test_a", COMPUTING),
    ],
)
def test_a_test_is_in_the_lane_of_its_folder(test: str, lane: str) -> None:
    assert lane_of(test) == lane


def groups_of(tests: list[str]) -> dict[str, str]:
    """As the tests' names have it."""
    groups = {test: "own" for test in tests if "own" in test}
    return groups | {test: ALONE for test in tests if test.startswith(RESTART)}


def lanes_of(tests: list[str]) -> Lanes:
    return Lanes(tests, groups_of(tests))


def test_a_process_takes_from_the_lane_it_prefers() -> None:
    lanes = lanes_of([UNIT, WAITS])

    assert lanes.take((WAITING, COMPUTING), queued=[]) == [1]
    assert lanes.take((WAITING, COMPUTING), queued=[]) == [0]
    assert lanes.take((WAITING, COMPUTING), queued=[]) == []


def test_a_group_is_handed_out_whole() -> None:
    lanes = lanes_of([f"{WAITS}_own", WAITS, f"{WAITS}_own[2]"])

    assert lanes.take(ANY, queued=[]) == [0, 2]
    assert list(lanes.left()) == [1]


def test_nothing_runs_on_the_cluster_while_a_test_has_it_alone() -> None:
    lanes = lanes_of([E2E, RESTART, WAITS])

    assert lanes.take((CLUSTER,), queued=[]) == [1]
    assert lanes.take(ANY, queued=[]) == [2]
    assert lanes.take(ANY, queued=[]) == []
    lanes.complete(1)
    assert lanes.take(ANY, queued=[]) == [0]


def test_who_runs_the_last_test_alone_knows_what_comes_after() -> None:
    """A process begins a test only when it knows the next one."""
    lanes = lanes_of([E2E, RESTART])
    alone = lanes.take(ANY, queued=[])

    assert lanes.take(ANY, queued=alone) == [0]


def test_what_a_dead_process_left_is_next() -> None:
    lanes = lanes_of([WAITS, f"{WAITS}[2]"])
    taken = lanes.take(ANY, queued=[])

    lanes.give_back(taken)

    assert lanes.take(ANY, queued=[]) == taken


class Process:
    """Stands for a process of tests as xdist's controller sees it: runs what it is sent."""

    def __init__(self, name: str, *, run: str) -> None:
        self.workerinput = {"testrunuid": run}
        self.gateway = SimpleNamespace(id=name)
        self.shutting_down = False
        self.sent: list[int] = []

    @property
    def as_controller(self) -> WorkerController:
        """The same, for xdist: as much of a controller as the scheduling uses."""
        return cast("WorkerController", self)

    def send_runtest_some(self, indices: list[int]) -> None:
        self.sent.extend(indices)

    def shutdown(self) -> None:
        self.shutting_down = True


def scheduling(tests: list[str], *, processes: int) -> tuple[LaneScheduling, list[Process]]:
    scheduling = LaneScheduling.__new__(LaneScheduling)
    scheduling.collection, scheduling.pending = None, []
    scheduling.node2pending, scheduling.node2collection = {}, {}
    scheduling.config = cast("pytest.Config", None)  # asked only where collections differ
    scheduling.numnodes = processes
    write_record(_notes(RUN), groups_of(tests))
    all_of_them = [Process(f"gw{number}", run=RUN) for number in range(processes)]
    for process in all_of_them:
        scheduling.add_node(process.as_controller)
        scheduling.add_node_collection(process.as_controller, tests)
    scheduling.schedule()
    return scheduling, all_of_them


def begun(process: Process, done: set[int]) -> int | None:
    """The test that it runs now: it needs to know what follows."""
    left = [each for each in process.sent if each not in done]
    return left[0] if len(left) > 1 or (left and process.shutting_down) else None


@pytest.mark.parametrize("processes", [1, 2, 3, 8])
@pytest.mark.parametrize(
    "tests",
    [
        [],
        [UNIT],
        [RESTART],
        [E2E, RESTART],
        [RESTART, f"{RESTART}[2]"],
        [f"{E2E}[{n}]" for n in range(5)] + [RESTART],
        [f"{WAITS}_own[{n}]" for n in range(4)] + [RESTART, E2E, UNIT],
        [each for n in range(20) for each in (f"{UNIT}[{n}]", f"{E2E}[{n}]", f"{WAITS}[{n}]")],
        [f"{RESTART}[{n}]" for n in range(3)]
        + [f"{E2E}[{n}]" for n in range(9)]
        + [f"{UNIT}[{n}]" for n in range(30)],
    ],
    ids=lambda tests: f"{len(tests)}-tests",
)
def test_every_test_is_run_once_and_every_process_ends(tests: list[str], processes: int) -> None:
    controller, workers = scheduling(tests, processes=processes)
    groups = groups_of(tests)
    done: set[int] = set()
    while running := [(w, now) for w in workers if (now := begun(w, done)) is not None]:
        on_cluster = [now for _, now in running if lane_of(tests[now]) == CLUSTER]
        assert len(on_cluster) < 2 or ALONE not in [groups.get(tests[now]) for now in on_cluster]
        for worker, now in running:
            done.add(now)
            controller.mark_test_complete(worker.as_controller, now)

    assert sorted(each for worker in workers for each in worker.sent) == list(range(len(tests)))
    assert done == set(range(len(tests)))
    assert controller.tests_finished
