"""All messages between the parent and its children.

Parent → child: one job per message on a SOCK_SEQPACKET pair. The parent holds both of its ends, so
that a job which it can still receive at the far end has certainly not reached the child.
Child → parent: one record per message on another pair; but the success of a job is reported in the
pipe of the jobs' output, where the job's output ends. In addition, the start mark is in a page of
shared memory.
"""

import _socket
import errno
import fcntl
import json
import marshal
import math
import mmap
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from longshore.worker.kept import from_json, to_strict_json
from longshore.worker.linux import descriptors
from longshore.worker.wire.values import MAX_DEPTH, MAX_PROGRESS, check_result, is_deep, refuse

INLINE_LIMIT = 100_000
"""Bytes of a job that travel in the message. A SEQPACKET message holds at most 212,960; a larger
job goes into a memfd, of which only the descriptor travels."""


# Parent → child


# Tuples instead of frozen dataclasses, because both sides create one for each job, and each field
# takes a microsecond less.


class JobFrame(NamedTuple):
    """One job as its child gets it. `enqueued_at` is in ms since the epoch, limits in seconds."""

    ticket: int
    """The parent's own number of the job, never reused, unlike delivery tags, which start anew with
    each channel."""

    body: bytes
    id: str
    handler: str
    attempt: int
    max_attempts: int
    enqueued_at: int
    hard_limit: float
    traceparent: str | None = None
    headers: Mapping[str, Any] = MappingProxyType({})


_JOB = struct.Struct("!QI?")  # ticket, length of the head, whether head and body are in a memfd


def send_job(near: socket.socket, job: JobFrame) -> bool:
    """Send without blocking; return False if the child's socket is full."""
    head = _encode_head(job)
    apart = len(head) + len(job.body) > INLINE_LIMIT
    start = _JOB.pack(job.ticket, len(head), apart)
    try:
        if apart:
            _send_apart(near, start, (head, job.body))
        else:
            near.send(start + head + job.body, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    return True


def _encode_head(job: JobFrame) -> bytes:
    # marshal takes a fifth of JSON's time, and both ends are one forked interpreter. Used in this
    # direction only, because a handler gone wild may write anything into what comes from a child.
    head: Any = job[2:]
    try:
        return marshal.dumps(head)
    except ValueError:  # AMQP's dates and decimals reach the handler as text
        head = [*job[2:-1], dict(job.headers)]
        return marshal.dumps(json.loads(json.dumps(head, default=str)))


class ReceivedJob:
    """A job's message whose head and body are not decoded yet."""

    __slots__ = ("_head_length", "_payload", "ticket")

    def __init__(self, ticket: int, head_length: int, payload: bytes | int | None) -> None:
        self.ticket = ticket
        self._head_length = head_length
        self._payload = payload
        """None if its memfd was lost because this process has too many open files."""

    def open(self) -> JobFrame:
        """Decode the job, and close its memfd. Raises OSError if the memfd was lost."""
        if self._payload is None:
            raise OSError(errno.EMFILE, "too many open files to receive a large job")
        payload = self._payload if isinstance(self._payload, bytes) else _read_all(self._payload)
        head = marshal.loads(payload[: self._head_length])  # noqa: S302 - written by the parent
        return JobFrame(self.ticket, payload[self._head_length :], *head)

    def drop(self) -> None:
        """Close the memfd, if there is one."""
        if isinstance(self._payload, int):
            os.close(self._payload)


def receive_job(far: _socket.socket, *, flags: int = 0) -> ReceivedJob | None:
    """Return the next job; None at the end. With MSG_DONTWAIT, may raise BlockingIOError."""
    message, passed = descriptors.receive(far, _JOB.size + INLINE_LIMIT, flags=flags)
    if not message:
        return None
    ticket, length, apart = _JOB.unpack_from(message)
    if not apart:
        return ReceivedJob(ticket, length, message[_JOB.size :])
    return ReceivedJob(ticket, length, passed[0] if passed else None)


def _send_apart(near: socket.socket, start: bytes, parts: Sequence[bytes]) -> None:
    memory = os.memfd_create("longshore-job")
    try:
        for part in parts:
            left = memoryview(part)
            while left:
                left = left[os.write(memory, left) :]
        descriptors.send(near, start, passed=[memory], flags=socket.MSG_DONTWAIT)
    finally:
        os.close(memory)


def _read_all(descriptor: int) -> bytes:
    try:
        with mmap.mmap(descriptor, 0, prot=mmap.PROT_READ) as memory:
            return memory[:]
    finally:
        os.close(descriptor)


# Child → parent


class Status(StrEnum):
    """How a run ended, as its child reports."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SNOOZED = "snoozed"
    DISCARDED = "discarded"
    NOT_RETRYABLE = "not-retryable"
    """`retry_when` returned false."""

    EXPECTED = "expected"
    """The exception is one of `throws`."""

    INTERRUPTED = "interrupted"
    """Draining or DeliveryLost was not caught."""

    INVALID_ARGUMENTS = "invalid-arguments"
    UNDECODABLE = "undecodable"


class Ended(NamedTuple):
    """A run has ended; `seconds` is its length, `delay` the delay that Retry or Snooze set."""

    ticket: int
    status: Status
    seconds: float
    error: str | None = None
    traceback: str | None = None
    delay: float | None = None
    result: str | None = None
    """The handler's return value as JSON; None if it was None, or is omitted."""

    result_omitted: str | None = None
    """Why the handler's return value is omitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The progress that a handler reported."""

    ticket: int
    value: Any


MAX_RECORD = INLINE_LIMIT
"""Bytes of one record. A record is one message, so that the kernel keeps apart the records of
threads, signal handlers and processes forked by a job, and never delivers a part of one."""

_TOO_DEEP = f"a progress value may have at most {MAX_DEPTH} levels of nesting"

END = struct.Struct("!Qd")
"""What follows a boundary in a child's output: the ticket of the job that ended there, if it has
succeeded, and its seconds. With ticket 0, a record reports how the job ended.

So a success without a result, the most common end, takes one write, and the parent reads many of
them at once.
"""

TOLD_IN_A_RECORD = END.pack(0, 0.0)


class NoRecord(ValueError):
    """A message that no child of ours would send. So the child has lost control of its memory or
    its sockets."""


def encode_record(record: Ended | Progress) -> bytes:
    """Encode a child's record. Raises TypeError or ValueError if JSON cannot express it."""
    if isinstance(record, Ended):
        encoded = _encode("ended", record._asdict())
        if len(encoded) > MAX_RECORD:
            encoded = _encode("ended", _shortened(record)._asdict())
        return encoded
    try:
        encoded = _encode("progress", {"ticket": record.ticket, "value": record.value})
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if len(encoded) > MAX_PROGRESS:
        raise ValueError(
            f"a progress value of {len(encoded)} bytes is too large; the limit is {MAX_PROGRESS}"
        )
    if is_deep(from_json(encoded.decode("ascii"))["value"]):
        raise ValueError(_TOO_DEEP)
    return encoded


def _encode(kind: str, fields: Mapping[str, Any]) -> bytes:
    # ASCII on purpose: a lone surrogate in an error message must not stop its report.
    return to_strict_json({"kind": kind, **fields}).encode("ascii")


_KEPT_OF_ERROR = 2048
_KEPT_OF_TRACEBACK = 6000
"""Characters. Each takes at most 12 bytes."""


def _shortened(record: Ended) -> Ended:
    error, trace = record.error, record.traceback
    return record._replace(
        error=error and error[:_KEPT_OF_ERROR], traceback=trace and trace[-_KEPT_OF_TRACEBACK:]
    )


def decode_record(message: bytes) -> Ended | Progress:
    """Decode the record in `message`. Raises NoRecord, which says what is wrong with it."""
    if len(message) > MAX_RECORD:
        raise NoRecord(f"it is longer than {MAX_RECORD} bytes")
    try:
        fields = json.loads(message, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise NoRecord(f"{_shown(message)} is not JSON") from None
    if not isinstance(fields, dict):
        raise NoRecord(f"{_shown(message)} is not a JSON object")
    match fields.pop("kind", None):
        case "progress" if fields.keys() == _PROGRESS_FIELDS.keys():
            _check_types(fields, _PROGRESS_FIELDS)
            if len(message) > MAX_PROGRESS or is_deep(fields["value"]):
                raise NoRecord(f"value has more than {MAX_PROGRESS} bytes or {MAX_DEPTH} levels")
            return Progress(**fields)
        case "ended" if fields.keys() == _ENDED_FIELDS.keys():
            _check_types(fields, _ENDED_FIELDS)
            return _read_ended(fields)
    raise NoRecord(f"{_shown(message)} does not have the fields of a record")


_ENDED_FIELDS: Mapping[str, tuple[type, ...]] = {
    "ticket": (int,),
    "status": (str,),
    "seconds": (int, float),
    "error": (str, type(None)),
    "traceback": (str, type(None)),
    "delay": (int, float, type(None)),
    "result": (str, type(None)),
    "result_omitted": (str, type(None)),
}
_PROGRESS_FIELDS: Mapping[str, tuple[type, ...]] = {"ticket": (int,), "value": (object,)}


def _check_types(fields: Mapping[str, Any], kinds: Mapping[str, tuple[type, ...]]) -> None:
    for name, kind in kinds.items():
        value = fields[name]
        if not isinstance(value, kind) or (isinstance(value, bool) and object not in kind):
            raise NoRecord(f"{name} has the wrong type: {repr(value)[:60]}")


def _read_ended(fields: Mapping[str, Any]) -> Ended:
    try:
        status = Status(fields["status"])
        seconds = float(fields["seconds"])
        delay = None if fields["delay"] is None else float(fields["delay"])
        if (result := fields["result"]) is not None:
            check_result(result)
    except (ValueError, OverflowError) as error:
        raise NoRecord(str(error)) from None
    if not 0 <= seconds < math.inf or (delay is not None and not 0 <= delay < math.inf):
        raise NoRecord(f"seconds {seconds} or delay {delay} is not a valid duration")
    omitted = fields["result_omitted"]
    if status is not Status.SUCCEEDED and (result is not None or omitted is not None):
        raise NoRecord(f"{status} is not the status of a job with a result")
    ticket, told, trace = fields["ticket"], fields["error"], fields["traceback"]
    return Ended(ticket, status, seconds, told, trace, delay, result, omitted)


def _shown(message: bytes) -> str:
    return repr(message[:40])


# Shared memory of parent and child


class Cause(IntEnum):
    """Why the parent interrupts a running job; a graver cause replaces a lesser one."""

    SOFT_LIMIT = 1
    DRAINING = 2
    DELIVERY_LOST = 3


class Mark:
    """The job that a child has begun, and the parent's order about it.

    The child writes `running` as soon as it has a job, so that a death is charged to the job that
    caused it and to no other. The parent writes an order, then sends SIGALRM.
    """

    SIZE = 40

    @classmethod
    def create(cls) -> int:
        """Create a page with a unique boundary, and return its descriptor."""
        descriptor = os.memfd_create("longshore-mark", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(descriptor, cls.SIZE)
        os.pwrite(descriptor, os.urandom(16), 24)
        # The parent would die of SIGBUS if the page were shortened.
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        return descriptor

    def __init__(self, descriptor: int) -> None:
        self._map = mmap.mmap(descriptor, self.SIZE)
        # Stores of eight aligned bytes are never seen half done on x86-64 and arm64.
        self._words = memoryview(self._map).cast("Q")

    @property
    def running(self) -> int:
        """Ticket of the last job begun; 0 before the first."""
        return self._words[0]

    @running.setter
    def running(self, ticket: int) -> None:
        self._words[0] = ticket

    @property
    def boundary(self) -> bytes:
        """What the child writes into its output after each job, before an `END`, so that lines are
        charged to the right job.

        A job cannot print it by chance. Both are short enough to be written at once (PIPE_BUF), and
        the pipe preserves the order of all writers.
        """
        return b"\0" + self._map[24:40].hex().encode()

    def order(self, ticket: int, cause: Cause) -> None:
        """Ask for the end of job `ticket`. SIGALRM must be sent after this, not before."""
        self._words[2] = cause
        self._words[1] = ticket

    def order_for(self, ticket: int) -> Cause | None:
        """Return the parent's order about job `ticket`."""
        return Cause(self._words[2]) if self._words[1] == ticket else None

    def order_for_running(self) -> Cause | None:
        """Return the parent's order about the last job begun."""
        words = self._words
        return Cause(words[2]) if words[1] == words[0] else None

    def is_lost(self, ticket: int) -> bool:
        """Return whether the broker has taken job `ticket` back."""
        return self.order_for(ticket) is Cause.DELIVERY_LOST

    def close(self) -> None:
        self._words.release()
        self._map.close()
