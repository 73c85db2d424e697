"""What images are made of, and what making them needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from dev import commands, packages, recipes


def test_a_bare_machine_gets_debootstrap_before_it_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed: set[str] = set()

    class Ran(Exception):
        pass

    def run(title: str, command: list[object], **options: object) -> None:
        assert command[0] in installed, f"{command[0]} is run before it is installed"
        raise Ran

    monkeypatch.setattr(packages, "require", installed.update)
    monkeypatch.setattr(packages, "require_root", lambda purpose: None)
    monkeypatch.setattr(commands, "run_long", run)

    with pytest.raises(Ran):
        recipes.debian("trixie").fill(tmp_path)
