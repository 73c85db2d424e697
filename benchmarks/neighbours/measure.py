"""How late limits are kept and probes answered while nine other slots do their worst."""

import socket
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from benchmarks.neighbours.jobs import LIMIT
from benchmarks.worker import product
from benchmarks.worker.broker import Broker
from benchmarks.worker.checks import Bound, Side
from benchmarks.worker.lateness import Lateness, lateness_of, watch_run

NEIGHBOURS = 9
EVENTS = 120
"""Kills that are timed for each kind of neighbour."""

PROBE_INTERVAL = 0.05
PROBE_TIMEOUT = 10.0
SETTLE = 2.0
"""Seconds for the neighbours to be at it."""

_BODY = 16 * 1024 * 1024 - 64
_HEADERS = 32_000
"""Bytes; with its name and what JSON puts around them 32 KiB."""

KINDS: Mapping[str, Sequence[str]] = {
    "quiet": (),
    "newlines": ("newlines",) * NEIGHBOURS,
    "characters": ("characters",) * NEIGHBOURS,
    "torrent": ("torrent",) * NEIGHBOURS,
    "progress": ("progress",) * NEIGHBOURS,
    "bodies": ("bodies",) * NEIGHBOURS,
    "headers": ("headers",) * NEIGHBOURS,
    "mixed": (
        *("newlines", "characters", "torrent", "progress", "bodies", "headers"),
        *("newlines", "progress", "headers"),
    ),
}
"""By name: the jobs of the other slots. `quiet` has none, to compare with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbourhood:
    """What became of one worker."""

    kills: Lateness
    """Death of a process behind the start of its job + its hard limit."""

    probes: Lateness
    """Answers of /healthz behind the question."""

    log_megabytes_a_second: float
    parent_megabytes: float
    """Resident memory of the parent, at its most."""


def bounds(name: str) -> Sequence[Bound]:
    """What is asked of the neighbourhood `name`."""
    return (
        Bound(f"{name}: hard kill, p99", Side.AT_MOST, 100, "ms", lambda it: it.kills.p99_ms),
        Bound(f"{name}: /healthz, p99", Side.AT_MOST, 200, "ms", lambda it: it.probes.p99_ms),
        Bound(
            f"{name}: memory of the parent", Side.AT_MOST, 400, "MB", lambda it: it.parent_megabytes
        ),
    )


def measure(name: str, broker: Broker, scale: float) -> Neighbourhood:
    """Kill watched jobs one after another beside the neighbours of this kind."""
    count = max(10, round(EVENTS * scale))
    port = _free_port()
    settings = product.config(slots=NEIGHBOURS + 1, prefetch=NEIGHBOURS + 1, log_successes=False)
    settings = msgspec.structs.replace(
        settings, handlers=("benchmarks.neighbours.jobs",), http_port=port
    )
    with product.running(broker, settings) as worker:
        for handler in KINDS[name]:
            worker.client.enqueue(product.QUEUE, handler, **_load(handler))
        time.sleep(SETTLE)
        began, log_before = time.monotonic(), worker.session.log.stat().st_size
        late = []
        with _probing(port) as probes:
            for number in range(count):
                worker.client.enqueue(product.QUEUE, "watched", job=number)
                started, death = watch_run(worker, number)
                late.append(death - started.at / 1e9 - LIMIT)
        seconds = time.monotonic() - began
        logged = worker.session.log.stat().st_size - log_before
        return Neighbourhood(
            kills=lateness_of(late),
            probes=lateness_of(probes.answers),
            log_megabytes_a_second=logged / 1e6 / seconds,
            parent_megabytes=_peak_megabytes(worker.session.pid),
        )


def _load(handler: str) -> dict[str, Any]:
    match handler:
        case "bodies":
            return {"payload": "x" * _BODY}
        case "headers":
            return {"headers": {"h": "x" * _HEADERS}}
    return {}


@dataclass(slots=True)
class _Probes:
    answers: list[float] = field(default_factory=list)
    """Seconds that each took."""

    fault: Exception | None = None


@contextmanager
def _probing(port: int) -> Iterator[_Probes]:
    """Ask for /healthz all the time, as a kubelet does now and then."""
    probes, is_over = _Probes(), threading.Event()

    def ask() -> None:
        while not is_over.wait(PROBE_INTERVAL):
            began = time.monotonic()
            try:
                with urllib.request.urlopen(
                    f"http://127.0.0.1:{port}/healthz", timeout=PROBE_TIMEOUT
                ) as answer:
                    answer.read()
            except OSError as error:
                probes.fault = error
            probes.answers.append(time.monotonic() - began)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield probes
    finally:
        is_over.set()
        thread.join()
    if probes.fault:
        raise TimeoutError(f"/healthz does not answer: {probes.fault}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _peak_megabytes(pid: int) -> float:
    with open(f"/proc/{pid}/status") as status:
        return int(status.read().partition("VmHWM:")[2].split()[0]) / 1024
