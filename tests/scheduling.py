"""Which worker process runs which test, and when.

Nearly all tests wait for something, so a machine runs several times as many of them as it has CPUs.
A test belongs to a lane by its folder: tests that compute must not starve those that wait, and one
cluster serves only so many. Tests of a group (`xdist_group`) run one after another in one process:
they share what is dear to make. Group `ALONE` has the cluster for itself and comes first.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from xdist.scheduler import LoadScheduling
from xdist.workermanage import WorkerController

from dev.cache import read_record, write_record

ALONE = "alone"
"""Group of the tests that take down or restart what other tests on the cluster rely on."""

QUEUED = 2
"""Tests that a process has at a time: it begins one when it knows the next one."""

COMPUTING, WAITING, CLUSTER = "computing", "waiting", "cluster"
FOLDERS = {
    "tests/e2e/": CLUSTER,
    "tests/dev/test_lifecycle.py": CLUSTER,
    "tests/integration/": WAITING,
}
"""Lanes by the beginning of a test's id; any other test is computing."""


def lane_of(test: str) -> str:
    return next((lane for start, lane in FOLDERS.items() if test.startswith(start)), COMPUTING)


def tell_groups(items: list[pytest.Item], *, run: str) -> None:
    """Note the groups where the scheduling process of this run finds them.

    xdist would append them to the tests' ids, which pytest 9.2 no longer lets it do.
    """
    groups = {
        item.nodeid: str(mark.args[0])
        for item in items
        if (mark := item.get_closest_marker("xdist_group"))
    }
    write_record(_notes(run), groups)


def known_groups(run: str) -> dict[str, str]:
    """Groups by test, once the tests are collected."""
    return read_record(_notes(run))


def _notes(run: str) -> Path:
    return Path(tempfile.gettempdir()) / f"longshore-tests-{run}-groups"


def preferences(number: int) -> tuple[str, ...]:
    """The lanes of the process with this number, the first choice first."""
    if number == 0:
        return (COMPUTING, WAITING, CLUSTER)
    return (CLUSTER, WAITING, COMPUTING)


class Lanes:
    """Tests that nobody runs yet, in units that are handed out whole."""

    def __init__(self, tests: list[str], groups: Mapping[str, str]) -> None:
        self._lane: dict[int, str] = {}
        self._waiting: dict[str, deque[list[int]]] = {
            lane: deque() for lane in (COMPUTING, WAITING, CLUSTER)
        }
        self._alone = {index for index, test in enumerate(tests) if groups.get(test) == ALONE}
        units: dict[str, list[int]] = {}
        for index, test in enumerate(tests):
            self._lane[index] = lane_of(test)
            group = groups.get(test)
            if group in units:
                units[group].append(index)
                continue
            unit = [index]
            if group:
                units[group] = unit
            self._waiting[self._lane[index]].append(unit)

    def take(self, lanes: tuple[str, ...], *, queued: list[int]) -> list[int]:
        """The next unit for a process that prefers these lanes and has `queued` before it.

        Empty when it has to wait.
        """
        others_are_alone = bool(self._alone.difference(queued))
        for lane in lanes:
            for unit in self._waiting[lane]:
                if others_are_alone and self._is_disturbed(unit):
                    continue
                self._waiting[lane].remove(unit)
                return unit
        return []

    def give_back(self, indices: list[int]) -> None:
        """What a process that died has not run is the next to be handed out."""
        if indices:
            self._waiting[self._lane[indices[0]]].appendleft(indices)

    def complete(self, index: int) -> None:
        self._alone.discard(index)

    def left(self) -> Iterator[int]:
        """All that are still to be handed out."""
        for units in self._waiting.values():
            for unit in units:
                yield from unit

    def _is_disturbed(self, unit: list[int]) -> bool:
        """Whether a test of it needs the cluster while tests of group ALONE have it."""
        return any(self._lane[each] == CLUSTER and each not in self._alone for each in unit)


class LaneScheduling(LoadScheduling):
    """xdist's own scheduling, but for the choice of the next test."""

    lanes: Lanes

    def schedule(self) -> None:
        if self.collection is None:
            if not self._check_nodes_have_same_collection():
                return
            self.collection = next(iter(self.node2collection.values()))
            node = next(iter(self.node2collection))
            self.lanes = Lanes(self.collection, known_groups(node.workerinput["testrunuid"]))
            self.pending[:] = self.lanes.left()
        self._fill()

    def mark_test_complete(
        self, node: WorkerController, item_index: int, duration: float = 0
    ) -> None:
        self.node2pending[node].remove(item_index)
        self.lanes.complete(item_index)
        self._fill()

    def mark_test_pending(self, item: str) -> None:
        assert self.collection is not None
        self.lanes.give_back([self.collection.index(item)])
        self._fill()

    def remove_node(self, node: WorkerController) -> str | None:
        unfinished = self.node2pending.pop(node)
        if not unfinished:
            return None
        assert self.collection is not None
        crashed, *others = unfinished
        self.lanes.complete(crashed)
        self.lanes.give_back(others)
        self._fill()
        return self.collection[crashed]

    def _fill(self) -> None:
        """Give every process what it may begin; let those go for which nothing will come."""
        for number, (node, queued) in enumerate(self.node2pending.items()):
            if node.shutting_down:
                continue
            while len(queued) < QUEUED:
                unit = self.lanes.take(preferences(number), queued=queued)
                if not unit:
                    break
                queued.extend(unit)
                node.send_runtest_some(unit)
        self.pending[:] = self.lanes.left()
        if not self.pending:
            for node in self.node2pending:
                node.shutdown()
