"""Which faults come when, as a seed says, and the record of what they did."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chaos.history import Fault, line
from chaos.stage import Stage

CALM = (3.0, 8.0)
"""Seconds between one fault and the next, at least and at most: some are seen to heal alone."""

OVERLAP = 0.2
"""Share of faults that come together with another one."""


@dataclass(frozen=True, kw_only=True)
class Hit:
    """What a fault did: see `history.Fault`. `tail` is for how many seconds after it was healed a
    connection that it broke may still be noticed."""

    pods: tuple[str, ...] | None = ()
    queues: tuple[str, ...] | None = ()
    tail: float = 0.5
    restarts_rabbitmq: bool = False


Act = Callable[[Stage, random.Random], Hit | None]
"""Do it, hold it, heal it; None where there was nothing to aim at."""


@dataclass(frozen=True, kw_only=True)
class Trick:
    """One kind of fault that the nemesis knows."""

    name: str
    act: Act
    nodes: int = 1
    """Nodes of RabbitMQ that it takes."""

    group: str = ""
    """No two of one group come together."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """Faults to come together, after `calm` seconds."""

    calm: float
    tricks: tuple[Trick, ...]
    seeds: tuple[int, ...]


def schedule(seed: int, tricks: Sequence[Trick], *, nodes: int) -> Iterator[Step]:
    """Steps without end: every trick that these nodes allow, in one random order after another."""
    dice = random.Random(seed)
    known = [trick for trick in tricks if trick.nodes <= nodes]
    while True:
        for trick in dice.sample(known, len(known)):
            together = [trick]
            others = [other for other in known if other.group != trick.group]
            if others and dice.random() < OVERLAP:
                together.append(dice.choice(others))
            yield Step(
                calm=dice.uniform(*CALM),
                tricks=tuple(together),
                seeds=tuple(dice.randrange(2**32) for _ in together),
            )


@dataclass(kw_only=True)
class Nemesis:
    """Plays a schedule for `seconds` and writes what it did into `path`."""

    stage: Stage
    path: Path
    counts: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    """Faults that could not be made, which the run must know."""

    _lock: threading.Lock = field(default_factory=threading.Lock)

    def play(self, steps: Iterator[Step], *, seconds: float) -> None:
        end = time.monotonic() + seconds
        for step in steps:
            if time.monotonic() + step.calm > end:
                return
            time.sleep(step.calm)
            threads = [
                threading.Thread(target=self._act, args=(trick, random.Random(seed)))
                for trick, seed in zip(step.tricks, step.seeds, strict=True)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def _act(self, trick: Trick, dice: random.Random) -> None:
        began = time.monotonic()
        try:
            hit = trick.act(self.stage, dice)
        except Exception as error:
            hit, problem = Hit(pods=None, queues=None, tail=30.0), f"{trick.name}: {error!r}"
            with self._lock:
                self.failed.append(problem)
        if hit is None:
            return
        healed = time.monotonic()
        fault = Fault(
            kind=trick.name,
            began=began,
            healed=healed,
            ended=healed + hit.tail,
            pods=hit.pods,
            queues=hit.queues,
            restarts_rabbitmq=hit.restarts_rabbitmq,
        )
        with self._lock:
            self.counts[trick.name] = self.counts.get(trick.name, 0) + 1
            with self.path.open("a") as file:
                file.write(line(fault))
            print(f"  {fault.kind} {healed - began:.1f} s", flush=True)
