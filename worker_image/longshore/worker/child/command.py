"""Isolation `Exec`: a command instead of a handler. Each job is one run of it.

The child waits for the command, so limits, output and reports are the same as for any handler.
docs/wire-format.md defines what a command is given and what its exit code means.
"""

import asyncio
import contextlib
import faulthandler
import json
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

import msgspec

from longshore.binding import NotAnObject
from longshore.contract.foreign import read
from longshore.contract.names import QUEUE_ENV
from longshore.errors import HandlerError, Retry, SoftTimeLimit
from longshore.handler import Job
from longshore.worker.linux.exits import describe_exit

RETRY_EXIT_CODE = os.EX_TEMPFAIL
"""75: on the BSDs, a temporary failure that invites the user to try again later."""


class CommandFailed(Exception):
    """The command has not ended with exit code 0."""


class CommandRetry(CommandFailed, Retry):
    """The command requests another attempt."""


class Commands:
    """Returns the same command for every handler's name.

    Raises HandlerError if there is no such program, or it cannot be executed.
    """

    def __init__(self, words: Sequence[str]) -> None:
        program = shutil.which(words[0])
        if program is None:
            raise HandlerError(_not_found(words[0]))
        self._command = Command(program=program, words=tuple(words))

    def __getitem__(self, handler: str) -> "Command":
        return self._command


def _not_found(program: str) -> str:
    if not os.path.dirname(program):
        return f"no executable {program!r} in PATH, which is {os.environ.get('PATH', '')!r}"
    if os.path.isdir(program):
        return f"{program!r} is a directory; it must be an executable file"
    if os.path.exists(program):
        return f"{program!r} is not executable; set its x bit"
    return f"file {program!r} does not exist"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Runs a job, as `longshore.binding.BoundHandler` does."""

    takes_job: ClassVar[bool] = True
    throws: ClassVar[tuple[type[Exception], ...]] = ()
    retry_when: ClassVar[None] = None
    program: str
    words: tuple[str, ...]

    def arguments(self, body: bytes) -> bytes:
        """Return `body` itself, so that numbers reach the command as they were written. Raises
        NotAnObject."""
        try:
            body.decode()  # msgspec does not validate strings that it skips
            read(body, dict[str, msgspec.Raw])
        except ValueError as error:
            raise NotAnObject(f"the body is not a JSON object: {error}") from None
        return body

    async def call(self, job: Job, arguments: bytes) -> None:
        """Run the command to its end. Raises CommandFailed.

        If cancelled, it sends the command SIGTERM once, and the exit code decides the outcome.
        """
        pid = self._start(job, arguments)
        asked = await _end_of(pid)
        status = _bury(pid)
        if status == 0:
            return
        reason = asked.args[0] if asked and asked.args else None
        if asked and not isinstance(reason, SoftTimeLimit):
            raise asked
        how = (f"{reason}; " if reason else "") + describe_exit(status)
        if os.waitstatus_to_exitcode(status) == RETRY_EXIT_CODE:
            raise CommandRetry(f"{how}, which requests another attempt")
        raise CommandFailed(how)

    def _start(self, job: Job, arguments: bytes) -> int:
        # Otherwise it would write this process's stack into the job's output.
        faulthandler.unregister(signal.SIGTERM)
        with _input(_document(job, arguments)) as stdin:
            return os.posix_spawn(
                self.program,
                self.words,
                {**os.environ, **_environment(job)},
                file_actions=[(os.POSIX_SPAWN_DUP2, stdin, 0)],
                setsigmask=(),
                setsigdef=(signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ),
            )


async def _end_of(pid: int) -> asyncio.CancelledError | None:
    """Wait until our child `pid` has ended, without reaping it; return why it was asked to end."""
    ended, asked = asyncio.Event(), None
    loop = asyncio.get_running_loop()
    descriptor = os.pidfd_open(pid)
    loop.add_reader(descriptor, ended.set)
    try:
        while not ended.is_set():
            try:
                await ended.wait()
            except asyncio.CancelledError as cancelled:
                if asked is None:
                    # It has ended, or belongs to another user; the hard limit still applies.
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
                asked = cancelled
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return asked


def _bury(pid: int) -> int:
    return os.waitpid(pid, 0)[1]


def _document(job: Job, arguments: bytes) -> tuple[bytes, ...]:
    head = {
        "id": job.id,
        "handler": job.handler,
        "attempt": job.attempt,
        "maxAttempts": job.max_attempts,
        "queue": job.queue,
        "enqueuedAt": _time(job.enqueued_at),
        "deadline": _time(job.deadline),
        "traceparent": job.traceparent,
        "headers": dict(job.headers),
    }
    encoded = json.dumps(head, default=_text, skipkeys=True).encode("ascii")
    return encoded[:-1], b', "arguments": ', arguments, b"}\n"


def _text(value: object) -> str:
    # AMQP's dates, decimals, and strings that are not UTF-8.
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _environment(job: Job) -> dict[str, str]:
    values = {
        "LONGSHORE_JOB_ID": job.id,
        "LONGSHORE_JOB_HANDLER": job.handler,
        "LONGSHORE_JOB_ATTEMPT": str(job.attempt),
        "LONGSHORE_JOB_MAX_ATTEMPTS": str(job.max_attempts),
        "LONGSHORE_JOB_ENQUEUED_AT": _time(job.enqueued_at),
        "LONGSHORE_JOB_DEADLINE": _time(job.deadline),
        QUEUE_ENV: job.queue,
        "TRACEPARENT": job.traceparent or "",
    }
    # A foreign producer's id may contain a NUL, which the environment cannot.
    return {
        name: value.replace("\0", "\N{REPLACEMENT CHARACTER}") for name, value in values.items()
    }


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@contextlib.contextmanager
def _input(parts: Sequence[bytes]) -> Iterator[int]:
    """Give a descriptor from which `parts` can be read. It is a file, because with a pipe, a
    command that reads nothing would block the writer."""
    memory = os.memfd_create("longshore-job")
    try:
        for part in parts:
            left = memoryview(part)
            while left:
                left = left[os.write(memory, left) :]
        os.lseek(memory, 0, os.SEEK_SET)
        yield memory
    finally:
        os.close(memory)
