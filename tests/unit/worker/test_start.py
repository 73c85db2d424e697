from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from longshore.contract.names import TERMINATION_LOG_ENV
from longshore.worker.__main__ import read_config, read_url
from longshore.worker.linux import termination

MINIMAL = '{"queue": "a.b", "handlers": ["jobs"], "hard_limit": "2h", "ack_timeout": "2h3m"}'


def test_a_minimal_configuration_is_enough() -> None:
    config = read_config(MINIMAL)
    assert (config.queue, config.hard_limit, config.slots) == ("a.b", 7200.0, 1)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "LONGSHORE_WORKER_CONFIG is not set"),
        ("[]", "configuration"),
        (MINIMAL.replace("2h3m", "never"), "ack_timeout is 'never'.*15m"),
        (MINIMAL.replace("}", ', "slots": 0}'), "slots is 0"),
        (MINIMAL.replace("}", ', "solts": 2}'), "solts is 2"),
    ],
)
def test_a_bad_configuration_names_field_and_value(text: str | None, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as raised:
        read_config(text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", [None, "", "guest:secret@host", "http://guest:secret@host"])
def test_an_address_of_another_kind_is_refused_without_its_password(text: str | None) -> None:
    with pytest.raises(ValueError, match="amqp://") as raised:
        read_url(text)
    assert "secret" not in str(raised.value)


def test_a_worker_with_plain_handlers_starts_without_pydantic() -> None:
    program = """
import sys
import longshore_worker, longshore.worker.__main__, longshore.worker.parent.main
from longshore import Job, handler
from longshore.worker.child import zygote

@handler
def work(job: Job, seconds: float, names: list[str] | None = None) -> None: ...

from longshore.handler import spec_of
zygote.BoundHandler(spec_of(work)).arguments(b'{"seconds": 1}')
print([name for name in sys.modules if name.startswith("pydantic")])
"""
    said = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )
    assert said.stdout == "[]\n", said.stderr


def test_a_long_termination_message_keeps_its_first_line_and_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    path.touch()
    monkeypatch.setenv(TERMINATION_LOG_ENV, str(path))
    termination.tell("what is wrong\n" + "frame\n" * 5000 + "the end")
    told = path.read_bytes()
    assert len(told) <= termination.MAX_BYTES
    assert told.startswith(b"what is wrong\n")
    assert told.endswith(b"the end")


def test_without_a_termination_log_nothing_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    monkeypatch.setenv(TERMINATION_LOG_ENV, str(path))
    termination.tell("hello")
    assert not path.exists()
