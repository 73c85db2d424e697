"""All that the parent and its children say to each other.

Parent → child: one job per message on a SOCK_SEQPACKET pair, both of whose ends the parent holds:
what it can still receive at the far end, the child has never seen. Child → parent: records on a
stream. Beside both a page of shared memory with the start mark.
"""

import json
import marshal
import mmap
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from longshore.worker import descriptors

INLINE_LIMIT = 100_000
"""Bytes of a job that travel in the message. One SEQPACKET message takes 212,960 at most; what is
larger goes into a memfd of which only the descriptor travels."""


# Parent → child


# Tuples, where a frozen dataclass would do: one is made for each job on either side, and its
# fields cost a microsecond less each.


class JobFrame(NamedTuple):
    """One job, as its child gets it. `enqueued_at` in ms since the epoch, limits in seconds."""

    ticket: int
    """The parent's own number of the job, never used twice: delivery tags start anew with each
    channel."""

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
    """Send without blocking; False when the child's socket is full."""
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
    # marshal: both ends are one interpreter, forked, and it takes a fifth of JSON's time. Only in
    # this direction: what comes out of a child may have been written by a handler gone wild.
    head: Any = job[2:]
    try:
        return marshal.dumps(head)
    except ValueError:  # AMQP's dates and decimals reach the handler as text
        head = [*job[2:-1], dict(job.headers)]
        return marshal.dumps(json.loads(json.dumps(head, default=str)))


class ReceivedJob:
    """A job's message before its head and body are looked into."""

    __slots__ = ("_head_length", "_payload", "ticket")

    def __init__(self, ticket: int, head_length: int, payload: bytes | int) -> None:
        self.ticket = ticket
        self._head_length = head_length
        self._payload = payload

    def open(self) -> JobFrame:
        """The job itself; takes it out of its memfd."""
        payload = self._payload if isinstance(self._payload, bytes) else _read_all(self._payload)
        head = marshal.loads(payload[: self._head_length])  # noqa: S302 - the parent's own words
        return JobFrame(self.ticket, payload[self._head_length :], *head)

    def drop(self) -> None:
        """Let go of the memfd, if there is one."""
        if isinstance(self._payload, int):
            os.close(self._payload)


def receive_job(far: socket.socket, *, flags: int = 0) -> ReceivedJob | None:
    """The next job; None at the end. Raises BlockingIOError with MSG_DONTWAIT and none there."""
    message, passed = descriptors.receive(far, _JOB.size + INLINE_LIMIT, flags=flags)
    if not message:
        return None
    ticket, length, apart = _JOB.unpack_from(message)
    return ReceivedJob(ticket, length, passed[0] if apart else message[_JOB.size :])


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
    """How a run ended, as its child sees it."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SNOOZED = "snoozed"
    DISCARDED = "discarded"
    NOT_RETRYABLE = "not-retryable"
    """`retry_when` said no."""

    EXPECTED = "expected"
    """The exception is one of `throws`."""

    INTERRUPTED = "interrupted"
    """Draining or DeliveryLost was let through."""

    INVALID_ARGUMENTS = "invalid-arguments"
    UNDECODABLE = "undecodable"


class Ended(NamedTuple):
    """A run is over; `seconds` is its length, `delay` what Retry or Snooze asked for."""

    ticket: int
    status: Status
    seconds: float
    error: str | None = None
    traceback: str | None = None
    delay: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What the handler said about how far it is."""

    ticket: int
    value: Any


_LENGTH = struct.Struct("!I")
_SUCCESS = struct.Struct("!IQd")  # length as of all records, ticket, seconds
_SUCCESS_LENGTH = _SUCCESS.size - _LENGTH.size


def encode_record(record: Ended | Progress) -> bytes:
    """One record of a child's stream. Raises TypeError or ValueError where JSON cannot say it."""
    if isinstance(record, Ended):
        if record.status is Status.SUCCEEDED:
            return _SUCCESS.pack(_SUCCESS_LENGTH, record.ticket, record.seconds)
        kind, fields = "ended", record._asdict()
    else:
        kind, fields = "progress", asdict(record)
    # ASCII on purpose: a lone surrogate in an error message must not stop its report.
    encoded = json.dumps({"kind": kind, **fields}).encode("ascii")
    return _LENGTH.pack(len(encoded)) + encoded


class RecordReader:
    """Records out of a stream that arrives in pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Ended | Progress]:
        """Records that `data` completes."""
        data = self._rest + data
        records: list[Ended | Progress] = []
        start = 0
        while len(data) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(data, start)
            end = start + _LENGTH.size + length
            if end > len(data):
                break
            # No JSON of ours is as short as a success.
            if length == _SUCCESS_LENGTH:
                _, ticket, seconds = _SUCCESS.unpack_from(data, start)
                records.append(Ended(ticket, Status.SUCCEEDED, seconds))
            else:
                records.append(_decode_record(data[start + _LENGTH.size : end]))
            start = end
        self._rest = data[start:]
        return records


def _decode_record(encoded: bytes) -> Ended | Progress:
    record = json.loads(encoded)
    if record.pop("kind") == "progress":
        return Progress(**record)
    return Ended(**{**record, "status": Status(record["status"])})


# Shared memory of parent and child


class Cause(IntEnum):
    """Why the parent interrupts a running job: a graver cause replaces a lesser one."""

    SOFT_LIMIT = 1
    DRAINING = 2
    DELIVERY_LOST = 3


class Mark:
    """Which job the child has begun, and what the parent wants of it.

    The child writes `running` the moment it has a job, so a death is charged to the job that
    caused it and to no other. The parent writes an order, then sends SIGALRM.
    """

    SIZE = 40

    @classmethod
    def create(cls) -> int:
        """A new page, as descriptor; its boundary is unlike any other's."""
        descriptor = os.memfd_create("longshore-mark")
        os.ftruncate(descriptor, cls.SIZE)
        os.pwrite(descriptor, os.urandom(16), 24)
        return descriptor

    def __init__(self, descriptor: int) -> None:
        self._map = mmap.mmap(descriptor, self.SIZE)
        # Stores of eight aligned bytes: never seen half done on x86-64 and arm64.
        self._words = memoryview(self._map).cast("Q")

    @property
    def running(self) -> int:
        """Ticket of the job begun last; 0 before the first."""
        return self._words[0]

    @running.setter
    def running(self, ticket: int) -> None:
        self._words[0] = ticket

    @property
    def boundary(self) -> bytes:
        """What the child writes into its output after each job, so that lines are charged rightly.

        Nobody prints it by chance; it is short enough to be written at once (PIPE_BUF), and the
        pipe keeps the order of all who write to it.
        """
        return b"\0" + self._map[24:40].hex().encode() + b"\n"

    def order(self, ticket: int, cause: Cause) -> None:
        """Ask for the end of job `ticket`. Only then send SIGALRM."""
        self._words[2] = cause
        self._words[1] = ticket

    def order_for(self, ticket: int) -> Cause | None:
        """What the parent wants of job `ticket`."""
        return Cause(self._words[2]) if self._words[1] == ticket else None

    def is_lost(self, ticket: int) -> bool:
        """Whether the broker has taken job `ticket` back."""
        return self.order_for(ticket) is Cause.DELIVERY_LOST

    def close(self) -> None:
        self._words.release()
        self._map.close()
