"""A queue and the pods that empty it: a discrete-event simulation of one TaskQueue.

A pod starts in a fixed time and runs one job at a time. Idle pods take jobs in turn, as RabbitMQ
gives them to consumers. A pod that is asked to end finishes its job within the grace or is killed;
a killed job goes back to the head of the queue and runs again from its beginning. Nodes, the API
server and the broker take no time: that is kind to whoever asks them for more.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from heapq import heappop, heappush
from typing import Protocol

from benchmarks.scaling.traces import Trace

ENDING = 1.0
"""Seconds that an idle pod takes to end."""

DELIVERY_LIMIT = 20
"""A quorum queue gives a job up after so many deliveries."""


class State(Enum):
    """What a pod does."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    ENDING = "ending"
    GONE = "gone"


@dataclass(slots=True, eq=False)
class Pod:
    """One worker."""

    name: str
    created: float
    up: float
    """When it can take jobs."""

    state: State = State.STARTING
    cordoned: bool = False
    job: int = -1
    began: float = 0.0
    ended: float | None = None


class Controller(Protocol):
    """Who asks for pods and ends them."""

    def next_look(self, _now: float, /) -> float:
        """When it looks next; it is called after every look, and at 0."""

    def look(self, fleet: "Fleet", now: float) -> None:
        """See and act."""


@dataclass(slots=True)
class Fleet:
    """The state of the simulation, and what is measured."""

    trace: Trace
    boot: float
    grace: float
    """Seconds that an ending pod may take to finish its job."""

    pods: dict[str, Pod] = field(default_factory=dict)
    """Those that were not asked to end, by name."""

    queue: deque[int] = field(default_factory=deque)
    idle: deque[Pod] = field(default_factory=deque)
    busy: int = 0
    """Jobs that run, in ending pods too."""

    finished: int = 0
    changes: int = 0
    """Grows whenever a pod's state does."""

    all_pods: list[Pod] = field(default_factory=list)
    started: list[float] = field(default_factory=list)
    """When each job began first; -1 before."""

    recent: deque[float] = field(default_factory=lambda: deque(maxlen=500))
    """How long the last jobs took."""

    recent_sum: float = 0.0
    deliveries: dict[int, int] = field(default_factory=dict)
    """How often a job was killed."""

    dead: int = 0
    """Jobs given up."""

    killed: int = 0
    wasted: float = 0.0
    booted: int = 0
    _events: list[tuple[float, int, int, Pod, int]] = field(default_factory=list)
    _serial: int = 0

    def run(self, controller: Controller) -> float:
        """Until every job is done and the trace is over. The time when that is."""
        arrivals, count = self.trace.arrivals, len(self.trace.arrivals)
        self.started = [-1.0] * count
        arrived, look, now = 0, controller.next_look(0.0), 0.0
        events = self._events
        infinity = float("inf")
        while self.finished < count or now < self.trace.duration:
            arrival = arrivals[arrived] if arrived < count else infinity
            event = events[0][0] if events else infinity
            if event <= arrival and event <= look:
                now, _, kind, pod, job = heappop(events)
                if kind == _END:
                    self._end_job(pod, job, now)
                elif kind == _UP:
                    self._come_up(pod, now)
                elif kind == _KILL:
                    self._kill(pod, job, now)
                else:
                    self._leave(pod, now)
            elif arrival <= look:
                now = arrival
                if self.idle:
                    self._begin(self.idle.popleft(), arrived, now)
                else:
                    self.queue.append(arrived)
                arrived += 1
            else:
                now = look
                controller.look(self, now)
                look = controller.next_look(now)
        return now

    def add(self, count: int, now: float) -> None:
        """Order pods."""
        for _ in range(count):
            pod = Pod(f"p{len(self.all_pods):05}", now, now + self.boot)
            self.all_pods.append(pod)
            self.pods[pod.name] = pod
            self._push(pod.up, _UP, pod)
        self.changes += 1

    def end(self, pods: Iterable[Pod], now: float) -> None:
        """Ask pods to end."""
        for pod in list(pods):
            del self.pods[pod.name]
            if pod.state is State.BUSY:
                self._push(now + self.grace, _KILL, pod, pod.job)
            else:
                if pod.state is State.IDLE and not pod.cordoned:
                    self.idle.remove(pod)
                self._push(now + ENDING, _GONE, pod)
            pod.state = State.ENDING
        self.changes += 1

    def cordon(self, pod: Pod) -> None:
        """Let it take no new jobs."""
        if not pod.cordoned:
            pod.cordoned = True
            if pod.state is State.IDLE:
                self.idle.remove(pod)
            self.changes += 1

    def uncordon(self, pod: Pod, now: float) -> None:
        """Let it take jobs again."""
        if pod.cordoned:
            pod.cordoned = False
            if pod.state is State.IDLE:
                self._serve(pod, now)
            self.changes += 1

    def _push(self, when: float, kind: int, pod: Pod, job: int = -1) -> None:
        self._serial += 1
        heappush(self._events, (when, self._serial, kind, pod, job))

    def _come_up(self, pod: Pod, now: float) -> None:
        if pod.state is State.STARTING:
            self.booted += 1
            self.changes += 1
            self._serve(pod, now)

    def _serve(self, pod: Pod, now: float) -> None:
        if pod.cordoned or not self.queue:
            pod.state = State.IDLE
            if not pod.cordoned:
                self.idle.append(pod)
        else:
            self._begin(pod, self.queue.popleft(), now)

    def _begin(self, pod: Pod, job: int, now: float) -> None:
        pod.state, pod.job, pod.began = State.BUSY, job, now
        if self.started[job] < 0:
            self.started[job] = now
        self.busy += 1
        self.changes += 1
        self._push(now + self.trace.service[job], _END, pod, job)

    def _end_job(self, pod: Pod, job: int, now: float) -> None:
        if pod.job != job:
            return  # killed before
        pod.job = -1
        self.busy -= 1
        self.finished += 1
        self.changes += 1
        took = self.trace.service[job]
        if len(self.recent) == self.recent.maxlen:
            self.recent_sum -= self.recent[0]
        self.recent.append(took)
        self.recent_sum += took
        if pod.state is State.ENDING:
            self._leave(pod, now)
        else:
            self._serve(pod, now)

    def _kill(self, pod: Pod, job: int, now: float) -> None:
        if pod.job != job:
            return  # it finished in time
        pod.job = -1
        self.busy -= 1
        self.killed += 1
        self.wasted += now - pod.began
        self._leave(pod, now)
        self.deliveries[job] = self.deliveries.get(job, 0) + 1
        if self.deliveries[job] >= DELIVERY_LIMIT:
            self.dead += 1
            self.finished += 1
        elif self.idle:
            self._begin(self.idle.popleft(), job, now)
        else:
            self.queue.appendleft(job)

    def _leave(self, pod: Pod, now: float) -> None:
        pod.state, pod.ended = State.GONE, now


_END, _UP, _KILL, _GONE = range(4)
