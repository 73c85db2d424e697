from __future__ import annotations

import pytest

from longshore.worker.parent.jobs.placements import Placements
from longshore.worker.parent.jobs.work import Work
from tests.unit.worker import test_child


def work(ticket: int, job_id: str) -> Work:
    work = test_child.work(ticket)
    work.message.id = job_id
    return work


def test_a_job_is_found_by_its_id_with_its_child_until_it_ends() -> None:
    placements: Placements[str] = Placements()
    one, other = work(1, "one"), work(2, "other")
    placements.add(one, "a child")
    placements.add(other, "another")
    assert placements.find("one") == [(one, "a child")]
    assert [*placements] == [one, other]
    placements.remove(one)
    assert placements.find("one") == []
    assert [*placements] == [other]


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_all_deliveries_of_one_job_are_found_whichever_ends_first(gone: int) -> None:
    placements: Placements[str] = Placements()
    works = [work(ticket, "twin") for ticket in (1, 2, 3)]
    for each in works:
        placements.add(each, f"child of {each.ticket}")
    assert len(placements) == 3
    placements.remove(works.pop(gone))
    assert placements.find("twin") == [(each, f"child of {each.ticket}") for each in works]
    assert sorted(each.ticket for each in placements) == [each.ticket for each in works]
    for left in (1, 0):
        placements.remove(works.pop())
        assert len(placements) == len(placements.find("twin")) == left
