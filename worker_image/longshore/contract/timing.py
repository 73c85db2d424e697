"""The timeout chain: every time limit on a job's way, derived from the one that the user states.

    soft limit ≤ hard limit < gone for certain < broker's ack timeout
                              gone for certain < pod's termination grace

Each must outlast the one before it, else plumbing kills or repeats a healthy job.
"""

import math
from dataclasses import dataclass

from longshore.contract.features import Features

HEARTBEAT = 30.0
"""Default AMQP heartbeat in seconds. Job lengths do not matter to it: the process that owns the
connection never runs user code."""

CONNECT_TIMEOUT = 3.0
"""Seconds for the TCP handshake with a broker; the kernel repeats its own part after one. An
attempt that begins while kube-proxy changes its rules can be lost with all its repetitions, where a
new one arrives."""

MIN_ACK_TIMEOUT = 300.0
"""RabbitMQ advises against ack timeouts under five minutes."""

ACK_MARGIN = 120.0
"""Seconds between the last moment a job can live and the broker taking it back."""

DRAIN_MARGIN = 30.0
"""Seconds a pod gets beyond its last job to hear SIGTERM, publish, ack and close."""

REQUEUE_GRACE = 30.0
"""Soft interruption's share of a pod's termination grace under `onTermination: Requeue`."""

EVICTABLE_UP_TO = 600.0
"""Cluster Autoscaler waits no longer than this for a pod to end, so longer jobs forbid eviction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Derived limits of one TaskQueue; all in seconds but `prefetch`, which counts jobs."""

    soft_limit: float | None
    """`SoftTimeLimit` is raised in the handler."""

    hard_limit: float
    """The parent kills the job's process group."""

    gone: float
    """Nothing of the job is alive any more: hard limit and kill grace."""

    ack_timeout: float
    """The broker gives the job to somebody else."""

    prefetch: int
    """Jobs that a worker holds unacked; with automatic prefetch it begins with so many."""

    termination_grace: float
    """Kubernetes waits this long between SIGTERM and SIGKILL."""

    evictable: bool
    """Whether a node may be drained under the pod without asking."""


def derive(
    *,
    hard_limit: float,
    soft_limit: float | None,
    kill_grace: float,
    slots: int,
    prefetch: int | None,
    requeue_on_termination: bool,
    features: Features,
) -> Timeouts:
    """The chain for jobs of at most `hard_limit` seconds, `slots` of which run at once.

    `prefetch` None means automatic: one job per slot, so that none waits unacked behind another.
    """
    held = prefetch or slots
    gone = hard_limit + kill_grace
    # The broker's clock starts at delivery: a job may wait for all that were prefetched before it.
    waiting = (math.ceil(held / slots) - 1) * gone
    busy_end = REQUEUE_GRACE + kill_grace if requeue_on_termination else gone
    return Timeouts(
        soft_limit=soft_limit,
        hard_limit=hard_limit,
        gone=gone,
        ack_timeout=max(MIN_ACK_TIMEOUT, waiting + gone + ACK_MARGIN)
        + features.ack_timeout_resolution,
        prefetch=held,
        termination_grace=busy_end + DRAIN_MARGIN,
        evictable=hard_limit <= EVICTABLE_UP_TO,
    )


def whole_heartbeat(seconds: float) -> int:
    """A heartbeat as AMQP has it: whole seconds in sixteen bits, where 0 would mean none at all."""
    return min(max(round(seconds), 1), _LONGEST_HEARTBEAT)


_LONGEST_HEARTBEAT = 2**16 - 1


def most_held(*, hard_limit: float, kill_grace: float, slots: int, ack_timeout: float) -> int:
    """Jobs that automatic prefetch may hold, one per slot at least.

    So many that even if each takes all its time, the last is gone when the broker would take it
    back. `ACK_MARGIN` is not taken off: what has to wait for a long job is given back long before.
    """
    return slots * max(1, math.floor(ack_timeout / (hard_limit + kill_grace)))
