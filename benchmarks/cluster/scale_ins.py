"""Many real scale-ins under load: is a job ever killed, repeated or lost by one?"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

from benchmarks.cluster.ledger import Judgement, judged
from benchmarks.cluster.stage import Stage, stage
from dev.kube import Kube, wait_for

QUICK: dict[str, Any] = {
    "policy": "backlog",
    "min": 1,
    "max": 12,
    "idleGrace": "1s",
    "steadyFor": "1s",
    "minLife": "0s",
}
"""Made to flap: each moment without work takes workers away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How many workers were taken away, and what became of the jobs."""

    scale_ins: int
    jobs: int
    seconds: float
    judgement: Judgement

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def measure(
    kube: Kube, *, wanted: int, seconds: float, chance: Random, tell: Callable[[str], None]
) -> Found:
    """Until `wanted` workers were taken away, or for so long."""
    began = time.monotonic()
    with stage(kube, "scale-ins") as here:
        here.apply(**QUICK)
        here.wait_until_declared()
        enqueued = list[str]()
        with here.client() as client:
            while here.seen.shrunk < wanted and time.monotonic() - began < seconds:
                # A few jobs that are short, some that outlast the decision to shrink.
                for _ in range(chance.randrange(1, 13)):
                    length = chance.choice((0.2, 0.5, 1.0, 3.0, 6.0))
                    enqueued.append(client.enqueue(here.queue, "work", seconds=length))
                time.sleep(chance.uniform(0.5, 6.0))
                tell(f"{here.seen.shrunk} of {wanted} scale-ins, {len(enqueued)} jobs")
        shrunk = here.seen.shrunk
        _wait_until_done(here, jobs=len(enqueued))
        here.apply(**(QUICK | {"min": 0}))
        here.wait_for_end(seconds=120)
        return Found(
            scale_ins=shrunk,
            jobs=len(enqueued),
            seconds=round(time.monotonic() - began, 1),
            judgement=judged(enqueued, here.runs(), asked_to_end=here.seen.asked_to_end),
        )


def _wait_until_done(here: Stage, *, jobs: int) -> None:
    def done() -> bool:
        return len({run.job for run in here.runs() if run.ended}) >= jobs

    wait_for(f"{jobs} jobs are done", done, seconds=180, every=1.0)
