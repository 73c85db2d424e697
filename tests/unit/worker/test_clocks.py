"""One timer for all runs: what it strikes for, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from longshore.worker.parent.children.child import Child
from longshore.worker.parent.children.clocks import Clocks
from longshore.worker.parent.children.pace import HOLD
from longshore.worker.parent.children.states import Kill
from longshore.worker.parent.jobs.run import Run
from tests.unit.worker.test_child import Puppet, work

pytestmark = pytest.mark.virtual_time


class Stage:
    """Two children, and what their clocks have struck for, in seconds since the beginning."""

    def __init__(self) -> None:
        self.puppets = [Puppet(), Puppet()]
        self.struck: list[tuple[str, int, float]] = []
        self.loop = asyncio.get_running_loop()
        self.began = self.loop.time()
        self.clocks = Clocks(
            [puppet.child for puppet in self.puppets],
            look=lambda _: None,
            on_soft=lambda _, run: self._note("soft", run),
            on_hard=self._on_hard,
            on_held=self._on_held,
        )

    def hand(self, index: int, ticket: int, *, soft_limit: float = 60.0) -> None:
        child = self.puppets[index].child
        assert child.hand(work(ticket, soft_limit=soft_limit), now=self.loop.time())
        self.clocks.note(child)

    def _on_hard(self, child: Child, run: Run) -> None:
        self._note("hard", run)
        child.begin_kill(Kill.HARD_LIMIT, until=0.0)

    def _on_held(self, child: Child) -> None:
        assert child.run
        self._note("held", child.run)
        child.take_back(now=self.loop.time())

    def _note(self, what: str, run: Run) -> None:
        self.struck.append((what, run.job.ticket, round(self.loop.time() - self.began, 3)))


@pytest.fixture
async def stage() -> Stage:
    return Stage()


@pytest.fixture(autouse=True)
def _closed(stage: Stage) -> Iterator[None]:
    yield
    for puppet in stage.puppets:
        puppet.close()


async def test_a_run_is_told_of_its_soft_limit_once_and_ended_at_its_hard_limit(
    stage: Stage,
) -> None:
    stage.hand(0, 1, soft_limit=0.4)
    await asyncio.sleep(2)
    assert stage.struck == [("soft", 1, 0.4), ("hard", 1, 1.0)]


async def test_each_run_has_its_own_clocks(stage: Stage) -> None:
    stage.hand(0, 1)
    await asyncio.sleep(0.3)
    stage.hand(1, 2, soft_limit=0.1)
    await asyncio.sleep(2)
    assert stage.struck == [("soft", 2, 0.4), ("hard", 1, 1.0), ("hard", 2, 1.3)]


async def test_a_run_that_ends_in_time_is_left_alone_and_the_next_has_its_whole_time(
    stage: Stage,
) -> None:
    stage.hand(0, 1)
    await asyncio.sleep(0.9)
    stage.puppets[0].child.end_first(at=stage.loop.time())
    stage.hand(0, 2)
    await asyncio.sleep(2)
    assert stage.struck == [("hard", 2, 1.9)]


async def test_jobs_behind_a_run_that_takes_its_time_are_held_up_and_go(stage: Stage) -> None:
    stage.hand(0, 1)
    stage.hand(0, 2)
    await asyncio.sleep(0.5)
    assert stage.struck == [("held", 1, HOLD)]
    assert not stage.puppets[0].child.jobs


async def test_a_run_that_cannot_be_ended_yet_is_looked_at_again(stage: Stage) -> None:
    """Its end may be on its way: records wait for the output before them."""
    stage.clocks = Clocks(
        [puppet.child for puppet in stage.puppets],
        look=lambda _: None,
        on_soft=lambda *_: None,
        on_hard=lambda _, run: stage._note("hard", run),
        on_held=lambda _: None,
    )
    stage.hand(0, 1)
    await asyncio.sleep(1 + 2.5 * HOLD)
    assert stage.struck == [("hard", 1, 1.0 + round(n * HOLD, 3)) for n in range(3)]
    stage.puppets[0].child.die()
    await asyncio.sleep(1)
    assert len(stage.struck) == 3
