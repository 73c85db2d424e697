"""What processes of a run share: shared.py."""

from __future__ import annotations

import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from tests.shared import NotMade, shared


def use(folder: Path, everyone: Barrier) -> None:
    def note(what: str) -> None:
        with (folder / "diary").open("a") as diary:
            diary.write(f"{what}\n")

    with shared(
        "thing",
        make=lambda: note("made"),
        remove=lambda: note("removed"),
        folder=folder,
        run="run",
    ):
        note("used")
        everyone.wait(20)


def test_the_first_makes_it_and_the_last_removes_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    everyone = context.Barrier(3)
    users = [context.Process(target=use, args=(tmp_path, everyone)) for _ in range(3)]
    for user in users:
        user.start()
    for user in users:
        user.join(60)

    assert [user.exitcode for user in users] == [0, 0, 0]
    lines = (tmp_path / "diary").read_text().splitlines()
    assert lines == ["made", "used", "used", "used", "removed"]


def test_who_comes_after_the_last_has_it_made_again(tmp_path: Path) -> None:
    made: list[str] = []
    for _ in range(2):
        with shared("thing", make=lambda: made.append("made"), folder=tmp_path, run="run"):
            pass

    assert made == ["made", "made"]


def test_what_could_not_be_made_fails_everywhere_at_once(tmp_path: Path) -> None:
    def fail() -> None:
        raise OSError("out of paper")

    with (
        pytest.raises(OSError, match="out of paper"),
        shared("thing", make=fail, folder=tmp_path, run="run"),
    ):
        pass

    with (
        pytest.raises(NotMade, match=r"thing: OSError.*out of paper"),
        shared("thing", make=fail, folder=tmp_path, run="run"),
    ):
        pass
