"""What a person at the terminal meets."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dev import brokers, commands, images
from dev.commandline import main
from dev.errors import CommandFailed, DevError, PrerequisiteMissing
from dev.paths import REPO


def test_an_error_is_one_line_and_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGSHORE_CLUSTER", "minikube")

    assert main(["cluster", "up"]) == 1

    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1


def test_the_tool_starts_with_the_standard_library_alone() -> None:
    # -S: without site-packages.
    done = subprocess.run(
        [sys.executable, "-S", "-m", "dev", "--help"], cwd=REPO, capture_output=True, check=True
    )

    assert b"cluster" in done.stdout


def test_an_unknown_series_names_those_there_are() -> None:
    with pytest.raises(DevError, match=r"no RabbitMQ series '3\.13': there are 4\.0, 4\.3"):
        brokers.up(["3.13"])


def test_every_rabbitmq_series_has_an_image() -> None:
    names = set(images.catalogue(official=False))

    assert {"worker", "operator", "pause", "rabbitmq-4.0", "rabbitmq-4.3"} <= names


def test_a_failed_command_tells_its_last_words() -> None:
    with pytest.raises(CommandFailed, match=r"sh -c .* ended with 3: out of paper"):
        commands.output(["sh", "-c", "echo out of paper >&2; exit 3"])


def test_a_missing_program_is_a_missing_prerequisite() -> None:
    with pytest.raises(PrerequisiteMissing, match="no-such-program is not installed"):
        commands.output(["no-such-program"])
