"""Content keys and things made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dev.cache import content_key, made_once


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout" / "source"
    folder.mkdir(parents=True)
    (folder / "main.py").write_text("print(1)\n")
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LONGSHORE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_key_is_twelve_hex_digits(source: Path) -> None:
    key = content_key(files=[source])

    assert len(key) == 12
    assert int(key, 16) >= 0


def test_the_same_content_in_another_checkout_has_the_same_key(
    source: Path, tmp_path: Path
) -> None:
    other = tmp_path / "elsewhere" / "source"
    other.mkdir(parents=True)
    (other / "main.py").write_text("print(1)\n")

    assert content_key(files=[other]) == content_key(files=[source])


def test_caches_of_the_interpreter_do_not_change_a_key(source: Path) -> None:
    before = content_key(files=[source])
    (source / "__pycache__").mkdir()
    (source / "__pycache__" / "main.pyc").write_bytes(b"\0")

    assert content_key(files=[source]) == before


def _edited(source: Path) -> None:
    (source / "main.py").write_text("print(2)\n")


def _renamed(source: Path) -> None:
    (source / "main.py").rename(source / "other.py")


def _added(source: Path) -> None:
    (source / "more.py").touch()


def _made_executable(source: Path) -> None:
    (source / "main.py").chmod(0o755)


@pytest.mark.parametrize("change", [_edited, _renamed, _added, _made_executable])
def test_every_change_of_a_source_changes_the_key(
    source: Path, change: Callable[[Path], None]
) -> None:
    before = content_key(files=[source])

    change(source)

    assert content_key(files=[source]) != before


def test_values_are_not_run_together() -> None:
    assert content_key(values=["ab", "c"]) != content_key(values=["a", "bc"])


def test_a_thing_is_made_once(cache: Path) -> None:
    made = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "thing").touch()

    first = made_once("kind/thing", key="0" * 12, make=make)
    second = made_once("kind/thing", key="0" * 12, make=make)

    assert first == second == cache / "kind" / f"thing-{'0' * 12}"
    assert (first / "thing").exists()
    assert len(made) == 1


def test_what_failed_half_way_leaves_nothing(cache: Path) -> None:
    def make(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        made_once("kind/thing", key="0" * 12, make=make)

    assert list((cache / "kind").iterdir()) == []


def test_of_older_versions_one_is_kept(cache: Path) -> None:
    for digit in "0123":
        made_once("kind/thing", key=digit * 12, make=lambda folder: None)
    made_once("kind/thing-else", key="0" * 12, make=lambda folder: None)

    names = sorted(each.name for each in (cache / "kind").iterdir())

    assert len(names) == 3
    assert f"thing-{'3' * 12}" in names
    assert f"thing-else-{'0' * 12}" in names
