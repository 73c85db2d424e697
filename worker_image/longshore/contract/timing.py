"""The timeout chain: every time limit of a job, derived from the one that the user sets.

    soft limit ≤ hard limit < gone for certain < broker's ack timeout
                              gone for certain < pod's termination grace

Each must outlast the one before it, otherwise a healthy job would be killed or repeated.
"""

import math
from dataclasses import dataclass

from longshore.contract.features import Features

HEARTBEAT = 30.0
"""Default AMQP heartbeat in seconds. It does not depend on the length of jobs, because the process
that owns the connection never runs user code."""

CONNECT_TIMEOUT = 3.0
"""Seconds for the TCP handshake with a broker; the kernel retransmits after one second. An attempt
that begins while kube-proxy changes its rules can be lost with all its retransmissions, where a new
attempt succeeds."""

MIN_ACK_TIMEOUT = 300.0
"""RabbitMQ advises against ack timeouts under five minutes."""

ACK_MARGIN = 120.0
"""Seconds between the latest end of a job's processes and the broker's taking the job back."""

DRAIN_MARGIN = 30.0
"""Seconds that a pod has in addition to its last job, to handle SIGTERM, publish, ack and close."""

REQUEUE_GRACE = 30.0
"""Seconds that interrupted jobs have to end with `onTermination: Requeue`, as part of the pod's
termination grace."""

EVICTABLE_UP_TO = 600.0
"""Cluster Autoscaler waits at most this long for a pod to end, so longer jobs forbid eviction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Derived limits of one TaskQueue; all are in seconds except `prefetch`, which counts jobs."""

    soft_limit: float | None
    """When `SoftTimeLimit` is raised in the handler."""

    hard_limit: float
    """When the parent kills the job's process group."""

    gone: float
    """When all processes of the job have ended: the hard limit plus the kill grace."""

    ack_timeout: float
    """When the broker gives the job to another worker."""

    prefetch: int
    """Jobs that a worker holds unacked; automatic prefetch begins with this number."""

    termination_grace: float
    """How long Kubernetes waits between SIGTERM and SIGKILL."""

    evictable: bool
    """Whether node autoscalers may evict the pod."""


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
    """Return the chain for jobs of at most `hard_limit` seconds, `slots` of which run at once.

    `prefetch` None means automatic: it begins with one job per slot, so that none waits unacked
    behind another.
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
    """Return a heartbeat for AMQP: whole seconds in sixteen bits, where 0 would mean no
    heartbeat."""
    return min(max(round(seconds), 1), _LONGEST_HEARTBEAT)


_LONGEST_HEARTBEAT = 2**16 - 1


def most_held(*, hard_limit: float, kill_grace: float, slots: int, ack_timeout: float) -> int:
    """Return how many jobs automatic prefetch may hold, at least one per slot.

    Even if each takes all of its time, the last has ended before the broker would take it back.
    `ACK_MARGIN` is not subtracted: jobs that wait for a long job are given back long before.
    """
    return slots * max(1, math.floor(ack_timeout / (hard_limit + kill_grace)))
