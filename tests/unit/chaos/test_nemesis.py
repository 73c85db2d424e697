from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from chaos.faults import ALL, SHORT
from chaos.history import Fault, History, Started, line, read
from chaos.nemesis import Step, schedule


def steps(seed: int, *, nodes: int = 3, count: int = 200) -> list[Step]:
    return list(islice(schedule(seed, ALL, nodes=nodes), count))


def test_a_seed_plays_the_same_again() -> None:
    assert steps(7) == steps(7)
    assert steps(7) != steps(8)


def test_every_trick_comes_in_each_cycle() -> None:
    first = [step.tricks[0].name for step in steps(1, count=len(ALL))]
    assert sorted(first) == sorted(trick.name for trick in ALL)


def test_what_takes_three_nodes_is_left_out_where_there_is_one() -> None:
    names = {trick.name for step in steps(1, nodes=1) for trick in step.tricks}
    assert "partition-rabbitmq" not in names
    assert "kill-rabbitmq" in names


def test_faults_that_come_together_hit_different_parts() -> None:
    together = [step for step in steps(1) if len(step.tricks) > 1]
    assert together
    assert all(one.group != two.group for one, two in (step.tricks for step in together))


def test_names_are_unique_and_short_ones_exist() -> None:
    assert len({trick.name for trick in ALL}) == len(ALL)
    assert len(SHORT) == 9


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    fault = Fault(kind="k", began=1.0, healed=2.0, ended=3.0, pods=("a",), queues=None)
    started = Started(number=1, attempt=1, pod="a", run="r", at=1.5)
    (tmp_path / "nemesis.jsonl").write_text(line(fault))
    (tmp_path / "a.jsonl").write_text(line(started) + '{"event": "Ended", "ru')
    assert History.of(read(tmp_path)) == History.of([fault, started])


@pytest.mark.parametrize("text", ["{}", "[]", "null", '{"event": "Nothing"}', "\x00\xff"])
def test_lines_that_are_no_events_are_left_out(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.jsonl").write_text(text + "\n")
    assert list(read(tmp_path)) == []
