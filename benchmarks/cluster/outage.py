"""The broker is away with a backlog: does anybody come or go, and how soon is all well again?"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.cluster.stage import stage
from dev import release
from dev.kube import Kube, wait_for

WORKERS = 3

POD = f"pod/{release.BROKER_SERVICE}-0", f"-n={release.NAMESPACE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """Seconds it lasted, replicas seen meanwhile, seconds until Kubernetes led to it again; from
    then on, until the scaler was active with every worker heard of, and until a job began."""

    seconds: float
    replicas: list[int]
    routed_after: float
    scaling_after: float
    work_after: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def measure(kube: Kube, *, seconds: float, tell: Callable[[str], None]) -> Outage:
    """Listeners shut and connections cut for so long."""
    rabbitmq = ("exec", f"{release.BROKER_SERVICE}-0", f"-n={release.NAMESPACE}", "--")
    with stage(kube, "outage") as here:
        here.apply(policy="backlog", max=WORKERS)
        here.wait_until_declared()
        with here.client() as client:
            for _ in range(40):
                client.enqueue(here.queue, "work", seconds=4)
        wait_for("workers are busy", lambda: len(here.runs()) >= WORKERS, seconds=90)
        before = len(here.seen.replicas)
        kube.kubectl(*rabbitmq, "rabbitmqctl", "suspend_listeners")
        try:
            kube.kubectl(*rabbitmq, "rabbitmqctl", "close_all_connections", "--global", "outage")
            tell(f"the broker is away for {seconds:g} s")
            wait_for("it is noticed", lambda: here.condition("ScalingActive") == "False")
            time.sleep(seconds)
        finally:
            kube.kubectl(*rabbitmq, "rabbitmqctl", "resume_listeners")
        resumed = time.time()
        # Kubernetes leads nobody to a pod before its probe, every 5 s, has found it well.
        kube.kubectl("wait", *POD, "--for=condition=Ready", "--timeout=60s")
        back = time.time()
        wait_for(
            "the scaler is active",
            lambda: (
                here.condition("ScalingActive") == "True"
                and here.status()["jobs"].get("running") is not None
            ),
            seconds=60,
            every=0.1,
        )
        active = time.time()
        during = [count for _, count in here.seen.replicas[before - 1 :]]
        wait_for("a job begins", lambda: any(r.started > back for r in here.runs()), seconds=60)
        begun = min(run.started for run in here.runs() if run.started > back)
        return Outage(
            seconds=seconds,
            replicas=during,
            routed_after=round(back - resumed, 2),
            scaling_after=round(active - back, 2),
            work_after=round(begun - back, 2),
        )
