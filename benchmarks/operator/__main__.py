"""`python -m benchmarks.operator`: measure, print, and write `benchmarks/results/operator.json`.

The operator runs as a process of this machine against the real API server and a real RabbitMQ, so
that nothing but its own work is weighed. No pod runs: TaskQueues without jobs have no workers, and
those of the others are reports that come from here.

Exits 0 when every check is met, 1 when one is not, 2 when nothing could be measured.
"""

import json
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import httpx
from rich.console import Console

from benchmarks.operator.active import active, buckets, p99
from benchmarks.operator.program import METRICS_PORT, operator
from benchmarks.operator.proxy import Counted, counting
from benchmarks.operator.tenants import (
    NAMESPACE,
    WORKERS,
    manifests,
    name_of,
    prepared,
    watched,
    writes,
)
from benchmarks.worker import machine
from benchmarks.worker.broker import Broker, Vhost
from benchmarks.worker.checks import Bound, Check, Side
from benchmarks.worker.errors import BenchmarkError
from benchmarks.worker.report import verdicts
from benchmarks.worker.spread import spread
from dev.errors import DevError
from dev.kube import Kube, wait_for

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks/results/operator.json"

PATIENCE = 600.0
"""Seconds after which a step is given up: far beyond its target."""

CHANGES = 10
"""Specs that are changed, one after the other."""

ACTIVE = 50
"""TaskQueues with jobs and workers, for as long as the others rest."""


@dataclass(slots=True, kw_only=True)
class Round:
    """One run through a fleet's life; seconds, bytes, numbers of requests."""

    count: int
    declared: float
    """From the start of `kubectl create` to the last TaskQueue Ready."""

    declaring_cpu: float
    kubectl: float
    """Part of `declared` in which kubectl was at work."""

    changed: list[float]
    """From a changed spec to its policy in RabbitMQ."""

    steady_cpu: float
    """Share of a core, with a tick each second."""

    resident: int
    declaring_writes: dict[str, int]
    """Writes to RabbitMQ and Kubernetes until all were declared, by kind; kubectl's among them."""

    restarted: float
    """From the operator's start to the last TaskQueue reconciled."""

    restart_writes: dict[str, int]
    """The same, from the operator's start to a while after."""

    tick_p99: float
    """One look at all TaskQueues, `ACTIVE` of them with jobs and workers: counted and decided. What
    was decided is carried out beside it. The bound of a bucket."""

    interval_p99: float
    """From the beginning of one look to that of the next, which is due after a second."""

    deleted: float


BOUNDS = (
    Bound("all declared and Ready", Side.AT_MOST, 60, "s", lambda r: r.declared),
    Bound("one changed spec takes effect, worst", Side.AT_MOST, 2, "s", lambda r: max(r.changed)),
    Bound("CPU, steady", Side.AT_MOST, 25, "% of a core", lambda r: r.steady_cpu * 100),
    Bound("resident memory", Side.AT_MOST, 250, "MiB", lambda r: r.resident / 2**20),
    Bound("reconciled after a restart", Side.AT_MOST, 20, "s", lambda r: r.restarted),
    Bound(
        "writes after a restart",
        Side.AT_MOST,
        0,
        "",
        lambda r: float(sum(r.restart_writes.values())),
    ),
    Bound(
        f"a full tick, {ACTIVE} active, p99", Side.AT_MOST, 300, "ms", lambda r: r.tick_p99 * 1000
    ),
    Bound(
        f"from tick to tick, {ACTIVE} active, p99",
        Side.AT_MOST,
        1.2,
        "s",
        lambda r: r.interval_p99,
    ),
    Bound("all deleted", Side.AT_MOST, 90, "s", lambda r: r.deleted),
)


@click.command()
@click.option("--count", default=1000, show_default=True, help="TaskQueues.")
@click.option("--rounds", default=1, show_default=True, help="Fleets, one after the other.")
@click.option("--steady", default=60.0, show_default=True, help="Seconds at rest.")
@click.option("--series", default="4.3", show_default=True, help="RabbitMQ, of build/brokers.json.")
@click.option("--output", default=RESULTS, type=click.Path(path_type=Path), show_default=True)
def main(*, count: int, rounds: int, steady: float, series: str, output: Path) -> None:
    """Measure how the operator does with many TaskQueues."""
    # So that whatever runs is ended, and all that was made is deleted.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console(width=None if sys.stdout.isatty() else 120)
    try:
        broker = Broker.from_record(series, root=ROOT)
        described = machine.describe(broker=broker.version)
        taken = [
            _round(Kube.from_record(), broker, count=count, steady=steady, console=console)
            for _ in range(rounds)
        ]
    except (BenchmarkError, DevError) as error:
        console.print(f"[red]nothing measured:[/] {error}", highlight=False)
        sys.exit(2)
    checks = [_median_check(bound, taken, count=count) for bound in BOUNDS]
    found = {
        "commit": machine.commit(ROOT),
        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": asdict(described),
        "settings": {"count": count, "rounds": rounds, "steady_seconds": steady},
        "checks": [check.as_json() for check in checks],
        "rounds": [asdict(each) for each in taken],
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(found, indent=2) + "\n")
    console.print(verdicts(checks))
    sys.exit(0 if all(check.ok for check in checks) else 1)


def _median_check(bound: Bound, taken: list[Round], *, count: int) -> Check:
    values = [value for each in taken if (value := bound.value(each)) is not None]
    found = spread(values)
    note = "" if len(values) == 1 else f"{found.min:.3g} to {found.max:.3g}"
    return Check(
        name=f"{count} TaskQueues: {bound.name}",
        side=bound.side,
        target=bound.target,
        unit=bound.unit,
        measured=found.median,
        note=note,
    )


def _round(kube: Kube, broker: Broker, *, count: int, steady: float, console: Console) -> Round:
    with (
        broker.vhost() as vhost,
        counting(urlsplit(broker.management).port or 15672) as management,
        tempfile.TemporaryDirectory() as folder,
        prepared(
            kube,
            broker={
                "host": "127.0.0.1",
                "port": urlsplit(broker.amqp).port,
                "managementURL": f"http://127.0.0.1:{management.port}",
                "vhost": vhost.name,
            },
            secret={"username": broker.user, "password": broker.password},
        ),
        watched(kube) as seen,
    ):
        with operator(kube, folder=Path(folder)) as first:
            wait_for("the operator stands", lambda: "GET users" in management.requests)
            before = _writes(kube, management)
            began = time.monotonic()
            kube.kubectl("create", "--filename=-", given=manifests(count), timeout=PATIENCE)
            kubectl = time.monotonic() - began
            end = seen.wait("all are Ready", count=count, ready=True, seconds=PATIENCE)
            declared, declaring_cpu = end - began, first.cpu_seconds()
            console.print(f"{count} declared in {declared:.1f} s (kubectl {kubectl:.1f} s)")
            declaring_writes = _more(_writes(kube, management), before)
            console.print(declaring_writes)
            changed = [
                _change(kube, broker, vhost.name, number) for number in range(min(CHANGES, count))
            ]
            console.print("changed in", [f"{each:.2f}" for each in changed])
            time.sleep(INVENTORY_SETTLES)
            cpu = first.cpu_seconds()
            time.sleep(steady)
            steady_cpu = (first.cpu_seconds() - cpu) / steady
            resident = first.resident_bytes()
            for line in first.troubles()[:5]:
                console.print("the operator said:", line, highlight=False)
        console.print(f"steady {steady_cpu:.1%}, {resident / 2**20:.0f} MiB")
        before = _writes(kube, management)
        with operator(kube, folder=Path(folder)) as second:
            restarted = second.wait_reconciled(count, seconds=PATIENCE) - second.started
            time.sleep(INVENTORY_SETTLES)  # a write that comes late is one too
            restart_writes = _more(_writes(kube, management), before)
            console.print(f"restarted in {restarted:.1f} s; wrote {restart_writes or 'nothing'}")
            tick_p99, interval_p99 = _ticks(kube, broker, vhost, count=count, seconds=steady)
            console.print(f"ticks of {tick_p99:g} s every {interval_p99:g} s at most (p99)")
            began = time.monotonic()
            kube.kubectl(
                "delete",
                "taskqueues",
                "--all",
                f"--namespace={NAMESPACE}",
                "--wait=false",
                timeout=PATIENCE,
            )
            end = seen.wait("all are gone", count=0, ready=False, seconds=PATIENCE)
            deleted = end - began
            console.print(f"deleted in {deleted:.1f} s")
    return Round(
        count=count,
        declared=declared,
        declaring_cpu=declaring_cpu,
        kubectl=kubectl,
        changed=changed,
        declaring_writes=declaring_writes,
        steady_cpu=steady_cpu,
        resident=resident,
        restarted=restarted,
        restart_writes=restart_writes,
        tick_p99=tick_p99,
        interval_p99=interval_p99,
        deleted=deleted,
    )


INVENTORY_SETTLES = 12.0
"""Seconds: one patrol of the operator and a bit."""


def _ticks(
    kube: Kube, broker: Broker, vhost: Vhost, *, count: int, seconds: float
) -> tuple[float, float]:
    """p99 of a tick and from tick to tick, in seconds, while some have work."""
    names = [name_of(number) for number in range(min(ACTIVE, count))]
    histograms = "longshore_operator_tick_seconds", "longshore_operator_tick_interval_seconds"
    with active(kube, names, workers=WORKERS, broker=broker, vhost=vhost):
        time.sleep(INVENTORY_SETTLES)  # what starting them took is not asked for
        before = [buckets(METRICS_PORT, name) for name in histograms]
        time.sleep(seconds)
        after = [buckets(METRICS_PORT, name) for name in histograms]
    tick, interval = (p99(*pair) for pair in zip(before, after, strict=True))
    return tick, interval


def _change(kube: Kube, broker: Broker, vhost: str, number: int) -> float:
    """Seconds from a changed spec to its policy in RabbitMQ."""
    queue = f"{NAMESPACE}.{name_of(number)}"
    length = 1000 + number
    with httpx.Client(
        base_url=broker.management, auth=(broker.user, broker.password), trust_env=False
    ) as client:

        def is_in_force() -> bool:
            policies: list[dict[str, Any]] = client.get(f"/api/policies/{vhost}").json()
            return any(
                queue.replace(".", "\\.") in policy["pattern"]
                and policy["definition"].get("max-length") == length
                for policy in policies
            )

        began = time.monotonic()
        kube.kubectl(
            "patch",
            "taskqueue",
            name_of(number),
            f"--namespace={NAMESPACE}",
            "--type=merge",
            f'--patch={{"spec":{{"queue":{{"maxLength":{length}}}}}}}',
        )
        wait_for(f"the new policy of {queue}", is_in_force, seconds=60, every=0.02)
    return time.monotonic() - began


def _more(after: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    return {kind: n - before.get(kind, 0) for kind, n in after.items() if n != before.get(kind, 0)}


def _writes(kube: Kube, management: Counted) -> dict[str, int]:
    rabbitmq = {f"RabbitMQ {kind}": number for kind, number in management.writes().items()}
    kubernetes = {f"Kubernetes {kind}": number for kind, number in writes(kube).items()}
    return rabbitmq | kubernetes


if __name__ == "__main__":
    main()
