"""Composition root: creates every part, connects them and runs them. The only file that knows
all."""

import asyncio
import random
import secrets
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import kopf

from longshore_operator import handlers
from longshore_operator.adapters.http import serve
from longshore_operator.adapters.kubernetes.cluster import Cluster
from longshore_operator.adapters.kubernetes.probe import ask
from longshore_operator.adapters.kubernetes.stateless import Stateless
from longshore_operator.adapters.kubernetes.workloads import KubernetesWorkloads
from longshore_operator.adapters.metrics import OperatorMetrics, Shown
from longshore_operator.adapters.rabbitmq.link import connect
from longshore_operator.api.v1alpha1 import GROUP
from longshore_operator.app.audit import Audit
from longshore_operator.app.ports.workloads import ListedWorkers
from longshore_operator.app.reconciling.deletion import Deletion
from longshore_operator.app.reconciling.loop import Reconciler
from longshore_operator.app.reconciling.patrol import Patrol
from longshore_operator.app.reconciling.queues import QueueReconciler
from longshore_operator.app.reconciling.rounds import Rounds
from longshore_operator.app.reconciling.state import Reconciliation
from longshore_operator.app.reconciling.workload import WorkloadReconciler
from longshore_operator.app.reporting.brokers import BrokerStatuses
from longshore_operator.app.reporting.loop import StatusReporter
from longshore_operator.app.reporting.task_queues import TaskQueueStatuses
from longshore_operator.app.scaling.autoscalers import Autoscalers
from longshore_operator.app.scaling.census import Census
from longshore_operator.app.scaling.depths import Readings
from longshore_operator.app.scaling.limits import CurrentLimits
from longshore_operator.app.scaling.loop import Scaler
from longshore_operator.app.scaling.obstacles import Obstacles
from longshore_operator.app.scaling.protection import Protection
from longshore_operator.app.scaling.sleepers import Sleepers
from longshore_operator.app.scaling.state import ScalingRecord, begun
from longshore_operator.app.scaling.warnings import Warnings
from longshore_operator.app.sessions.keeper import Brokers
from longshore_operator.app.sessions.vhosts import Vhosts
from longshore_operator.app.states import States
from longshore_operator.app.watched.objects import FINALIZER
from longshore_operator.app.watched.world import Key, World
from longshore_operator.core.kubernetes.owner import TASK_QUEUE_LABEL
from longshore_operator.core.workers.history import Hour
from longshore_operator.plugins import scaling_policies
from longshore_operator.settings import Settings


async def run(settings: Settings) -> None:
    """Run the operator until SIGTERM or SIGINT. If a part fails, the process ends."""
    cluster = await Cluster.connect(now=_now)
    try:
        await _operate(settings, cluster)
    finally:
        await cluster.close()


async def _operate(settings: Settings, cluster: Cluster) -> None:
    world, chance = World(), random.SystemRandom().random
    brokers = Brokers(
        world=world, cluster=cluster, connect=connect, clock=time.monotonic, chance=chance
    )
    states = States(new=lambda _: Reconciliation())
    records = States(new=lambda task_queue: begun(task_queue, since=time.time_ns() // 1_000_000))
    workloads = KubernetesWorkloads(world=world, cluster=cluster)
    metrics = OperatorMetrics(
        clock=time.monotonic,
        task_queues=lambda: _shown(world, records, workloads),
        brokers=lambda: [
            (each.name, brokers.trouble(each.name) is None) for each in world.brokers()
        ],
    )
    vhosts = Vhosts(world=world, cluster=cluster)
    reconciler = Reconciler(
        world=world,
        brokers=brokers,
        queues=QueueReconciler(
            world=world,
            vhosts=vhosts,
            secrets=cluster,
            events=cluster,
            new_password=lambda: secrets.token_urlsafe(24),
        ),
        workers=WorkloadReconciler(
            world=world, workloads=workloads, events=cluster, clock=time.monotonic
        ),
        states=states,
        patrol=Patrol(
            world=world,
            brokers=brokers,
            vhosts=vhosts,
            workloads=workloads,
            states=states,
            clock=time.monotonic,
        ),
        clock=time.monotonic,
        chance=chance,
        reconciled=lambda failed: metrics.reconciled(failed=failed),
    )
    rounds = Rounds(
        world=world,
        secrets=cluster,
        states=states,
        clock=time.monotonic,
        chance=chance,
        wake=reconciler.wake,
    )
    scaler = Scaler(
        world=world,
        brokers=brokers,
        workloads=workloads,
        states=records,
        reconciled=reconciler.seen,
        doubt=reconciler.doubt,
        readings=Readings(brokers=brokers),
        census=Census(world=world, workloads=workloads),
        obstacles=Obstacles(
            workloads=workloads,
            warnings=Warnings(workloads=workloads, ask=ask),
            new_id=lambda: secrets.token_hex(6),
        ),
        sleepers=Sleepers(
            world=world,
            workloads=workloads,
            brokers=brokers,
            states=records,
            reconciled=reconciler.seen,
        ),
        protection=Protection(world=world, workloads=workloads),
        limits=CurrentLimits(today=lambda: datetime.now(UTC), budgets=settings.budgets),
        policies=scaling_policies(),
        clock=time.monotonic,
        epoch=time.time,
        new_id=lambda: secrets.token_hex(6),
        interval=settings.tick,
        last_tick=time.monotonic(),
        ticked=metrics.ticked,
    )
    reporter = StatusReporter(
        world=world,
        task_queues=TaskQueueStatuses(
            workloads=workloads,
            brokers=brokers,
            cluster=cluster,
            reconciled=reconciler.seen,
            scaled=scaler.seen,
            now=_now,
            clock=time.monotonic,
            chance=chance,
        ),
        brokers=BrokerStatuses(world=world, keeper=brokers, cluster=cluster, now=_now),
        interval=settings.tick,
    )
    audit = Audit(world=world, cluster=cluster, namespace=settings.namespace)
    deletion = Deletion(
        world=world,
        brokers=brokers,
        cluster=cluster,
        workloads=workloads,
        states=states,
        clock=time.monotonic,
    )
    wiring = handlers.Wiring(
        world=world,
        delete=deletion.delete,
        wake=reconciler.wake,
        audit=audit.wake,
        is_alive=lambda: time.monotonic() - scaler.last_tick < settings.liveness_after,
    )
    autoscalers = Autoscalers(world=world, cluster=cluster, namespace=settings.namespace)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with asyncio.TaskGroup() as group:
        shown = await serve(
            lambda namespace, name: _hour(records, (namespace, name)),
            exposition=metrics.exposition,
            port=settings.http_port,
        )
        parts = (scaler, reconciler, reporter, rounds, brokers, autoscalers, audit)
        loops = [group.create_task(part.run()) for part in parts]
        await _watch(settings, wiring=wiring, stop=stop)
        for loop in loops:
            loop.cancel()
        await shown.cleanup()


def _shown(
    world: World, records: States[ScalingRecord], workloads: ListedWorkers
) -> Iterator[Shown]:
    for key, task_queue in world.task_queues():
        state, workload = records.of(key, task_queue).state, workloads.workload(key)
        yield Shown(
            namespace=key[0],
            name=key[1],
            ready=state.ready,
            dead=state.dead,
            wanted=state.decision.wanted if state.decision else None,
            workers=workload.replicas if workload else None,
        )


def _hour(records: States[ScalingRecord], key: Key) -> Hour | None:
    record = records.known(key)
    return Hour(moments=record.state.history.moments) if record else None


async def _watch(settings: Settings, *, wiring: handlers.Wiring, stop: asyncio.Event) -> None:
    """Run kopf until `stop` is set."""
    registry = kopf.OperatorRegistry()
    handlers.register(registry)
    await kopf.operator(
        registry=registry,
        settings=_kopf_settings(),
        memo=wiring,
        standalone=True,
        # kopf's default needs a user name, which user 1000 of a container does not have. kopf's
        # type for identities, a NewType of str, is not public.
        identity=GROUP,  # type: ignore[arg-type]
        clusterwide=settings.namespace is None,
        namespaces=[settings.namespace] if settings.namespace else [],
        liveness_endpoint=f"http://0.0.0.0:{settings.liveness_port}/healthz",
        stop_flag=stop,
    )


def _kopf_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    # Our own names from the first release on: a later change would handle everything anew.
    settings.persistence.finalizer = FINALIZER
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    settings.persistence.diffbase_storage = Stateless()
    # One replica, so no peers. The CRDs are installed before the operator, so no scanning.
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    # Only our own objects, not every pod of the cluster.
    settings.watching.label_selectors["apps", "v1", "deployments"] = TASK_QUEUE_LABEL
    settings.watching.label_selectors["policy", "v1", "poddisruptionbudgets"] = TASK_QUEUE_LABEL
    settings.watching.label_selectors["", "v1", "pods"] = TASK_QUEUE_LABEL
    # The operator posts Events itself, on transitions.
    settings.posting.enabled = False
    return settings


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
