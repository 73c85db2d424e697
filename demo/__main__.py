"""Install Longshore, apply the render example, enqueue real jobs, and judge what became of them.

Exits 0 only when every good job succeeded exactly once, every bad one ended as designed, and no
worker is left.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.live import Live

from demo import table
from demo.verdict import Enqueued, Report, Run, ends, faults
from dev import paths, release
from dev.errors import DevError
from dev.kube import Kube, wait_for
from dev.management import management
from longshore.contract.message import DEAD_REASON
from longshore.contract.names import dead_queue_name, queue_name

NAMESPACE = "demo"
NAME = "render"
EXAMPLE = paths.REPO / "examples" / "render"
IN_NAMESPACE = f"--namespace={NAMESPACE}"
DEADLINE = 240.0
FOLDER = "/var/tmp/longshore-render"  # noqa: S108 — on the cluster's node, as in the manifests


@dataclass
class Watched:
    """What was seen of the TaskQueue while it worked."""

    status: dict[str, Any] = field(default_factory=dict)
    workers: int = 0
    max_workers: int = 0


def main() -> int:
    console = Console()
    started = time.monotonic()
    try:
        kube = Kube.from_record()
        with console.status("helm install longshore-crds and longshore, with a trial RabbitMQ"):
            release.install(kube)
        folder = start(kube, console)
        enqueued = produce(kube, folder, console)
        watched = watch(kube, jobs=len(enqueued), console=console, started=started)
        runs, pictures = verify(kube, folder)
        dead = dead_letters(kube)
    except DevError as error:
        console.print(f"[red]demo failed:[/] {error}", highlight=False)
        return 1

    found = ends(enqueued, runs, dead)
    wrong = faults(found) + pictures
    if watched.workers:
        wrong.append(f"{watched.workers} workers are left")
    good = {run.id for run in runs}
    report = Report(
        enqueued=len(enqueued),
        succeeded=len(good & {job.id for job in enqueued}),
        dead=len(dead),
        lost=sum(counts["lost"] for counts in found.values()),
        ran_twice=sum(counts["ran-twice"] for counts in found.values()),
        seconds_to_first_start=round(
            (min(run.started_ms for run in runs) - min(job.enqueued_ms for job in enqueued)) / 1000,
            2,
        ),
        seconds_total=round(time.monotonic() - started, 1),
        max_workers=watched.max_workers,
        workers_at_end=watched.workers,
    )
    paths.BUILD.mkdir(exist_ok=True)
    (paths.BUILD / "demo.json").write_text(json.dumps(report.as_json(), indent=2) + "\n")
    console.print(table.ends(found))
    console.print(report.as_json())
    for fault in wrong:
        console.print(f"[red]not as designed:[/] {fault}", highlight=False)
    return 1 if wrong else 0


def start(kube: Kube, console: Console) -> str:
    """Apply the example anew with the images built here; returns the folder its jobs write to."""
    kube.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s")
    kube.kubectl("create", "namespace", NAMESPACE)
    folder = f"{FOLDER}/{uuid.uuid4().hex[:8]}"
    apply(kube, "taskqueue.yaml", folder)
    with console.status("waiting for the TaskQueue to be Ready"):
        kube.kubectl(
            "wait", "taskqueue", NAME, IN_NAMESPACE, "--for=condition=Ready", "--timeout=60s"
        )
    console.print(kube.kubectl("get", "taskqueue", NAME, IN_NAMESPACE), highlight=False)
    return folder


def produce(kube: Kube, folder: str, console: Console) -> list[Enqueued]:
    """Run the producer as a Job in the cluster, as a team's own service would run there."""
    apply(kube, "producer-job.yaml", folder)
    with console.status("a producer in the cluster enqueues"):
        said = finished(kube, "producer")
    enqueued = [Enqueued(**json.loads(line)) for line in said.splitlines()]
    console.print(f"{len(enqueued)} jobs enqueued")
    return enqueued


def watch(kube: Kube, *, jobs: int, console: Console, started: float) -> Watched:
    """Show the table until every job has ended and every worker is gone."""
    watched = Watched()

    def settled() -> bool:
        watched.status = kube.get("taskqueue", NAME, IN_NAMESPACE).get("status", {})
        selector = f"--selector=longshore.dev/task-queue={NAME}"
        watched.workers = len(kube.get("pods", IN_NAMESPACE, selector)["items"])
        watched.max_workers = max(watched.max_workers, watched.workers)
        screen.update(
            table.live(watched.status, workers=watched.workers, seconds=time.monotonic() - started)
        )
        ended = watched.status.get("jobs", {})
        done = ended.get("succeeded", 0) + ended.get("dead", 0)
        return done >= jobs and watched.workers == 0

    with Live(console=console, refresh_per_second=4) as screen:
        wait_for(f"{jobs} jobs ended and no worker left", settled, seconds=DEADLINE, every=0.5)
    return watched


def verify(kube: Kube, folder: str) -> tuple[list[Run], list[str]]:
    """The ledger of all runs, and what is wrong with the files that they wrote."""
    apply(kube, "verify-job.yaml", folder)
    summary = json.loads(finished(kube, "verify"))
    runs = [
        Run(id=run["id"], started_ms=run["started_ms"], ended_ms=run["ended_ms"])
        for run in summary["runs"]
    ]
    return runs, list(summary["faults"])


def dead_letters(kube: Kube) -> dict[str, str]:
    """Job ids and reasons in the dead-letter queue."""
    queue = dead_queue_name(queue_name(namespace=NAMESPACE, name=NAME))
    with management(kube) as broker:
        letters = [letter["properties"] for letter in broker.peek(queue)]
    return {letter["message_id"]: letter["headers"][DEAD_REASON] for letter in letters}


def apply(kube: Kube, file: str, folder: str) -> None:
    images = json.loads(paths.IMAGES_RECORD.read_text())
    manifest = (EXAMPLE / file).read_text()
    kube.apply(
        manifest.replace("longshore/example-render:dev", images["example-render"]).replace(
            FOLDER, folder
        )
    )


def finished(kube: Kube, job: str) -> str:
    """What a Kubernetes Job printed, once it is complete."""

    def ended() -> str | None:
        status = kube.get("job", job, IN_NAMESPACE).get("status", {})
        if status.get("failed"):
            said = kube.kubectl("logs", f"job/{job}", IN_NAMESPACE)
            raise DevError(f"the {job} failed: {said.strip()[-500:]}")
        return "yes" if status.get("succeeded") else None

    wait_for(f"job {job} complete", ended, seconds=120)
    # The kubelet of a busy machine may give them a moment later.
    return wait_for(f"logs of job {job}", lambda: kube.kubectl("logs", f"job/{job}", IN_NAMESPACE))


if __name__ == "__main__":
    sys.exit(main())
