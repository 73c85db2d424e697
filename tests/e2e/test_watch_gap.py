"""An interruption of the watches that is longer than the API server's memory leaves no phantom."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dev.errors import CommandFailed
from dev.kube import Kube
from longshore_operator import handlers, run
from longshore_operator.adapters.kubernetes.cluster import Cluster
from longshore_operator.app.audit import Audit
from longshore_operator.app.watched.world import Kind, World
from longshore_operator.settings import Settings
from tests.e2e.gap import Gap, free_port, relayed
from tests.e2e.objects import deployment, task_queue
from tests.e2e.tenant import Tenant

WITHIN = 60.0
"""Seconds from the end of a gap: kopf waits a moment before it lists anew, and its requests wait
for those of the tests beside this one."""


@dataclass(frozen=True)
class Seen:
    """What an operator sees through a relay."""

    world: World
    gap: Gap

    async def until(self, what: str, holds: Callable[[World], Any], *, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            if holds(self.world):
                return
            assert time.monotonic() < deadline, f"{what}: not so after {seconds:g} s"
            await asyncio.sleep(0.1)


@asynccontextmanager
async def watching(
    kube: Kube, namespace: str, *, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Seen]:
    """The operator's watches of one namespace, without what the operator does."""

    async def delete(_: object) -> None:
        """Nothing is to be cleaned up: its Broker is not there."""

    async with relayed(kube.kubeconfig, folder=folder) as (gap, kubeconfig):
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        # The client has read the variable when it was imported.
        read = "kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION"
        monkeypatch.setattr(read, str(kubeconfig))
        cluster = await Cluster.connect(now=lambda: datetime.now(UTC).isoformat())
        world = World()
        audit = Audit(world=world, cluster=cluster, namespace=namespace)
        wiring = handlers.Wiring(
            world=world,
            delete=delete,
            wake=lambda: None,
            audit=audit.wake,
            is_alive=lambda: True,
        )
        settings = Settings(namespace=namespace, liveness_port=free_port())
        stop = asyncio.Event()
        watches = asyncio.create_task(run._watch(settings, wiring=wiring, stop=stop))
        auditing = asyncio.create_task(audit.run())
        try:
            yield Seen(world, gap)
        finally:
            stop.set()
            gap.begin()
            auditing.cancel()
            await asyncio.gather(watches, auditing, return_exceptions=True)
            await cluster.close()


def broker(kube: Kube, name: str) -> str:
    """Make one whose Secret is not there, and give its uid."""
    secret = {"name": "no-such-secret", "namespace": "default"}
    manifest = {
        "apiVersion": "longshore.dev/v1alpha1",
        "kind": "Broker",
        "metadata": {"name": name},
        "spec": {"host": "no-such-host", "secretRef": secret},
    }
    kube.apply(json.dumps(manifest))
    return str(kube.get("broker", name)["metadata"]["uid"])


def delete_task_queue(tenant: Tenant, name: str) -> None:
    where = f"--namespace={tenant.namespace}"
    unheld = ("--type=merge", '--patch={"metadata":{"finalizers":null}}')
    tenant.kube.kubectl("delete", "taskqueue", name, where, "--wait=false")
    with suppress(CommandFailed):  # another operator may have let it go
        tenant.kube.kubectl("patch", "taskqueue", name, where, *unheld)


async def test_what_went_in_a_gap_of_the_watches_is_gone_and_what_was_made_anew_is_new(
    tenant: Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube, where = tenant.kube, f"--namespace={tenant.namespace}"
    work, gone = (tenant.namespace, "work"), (tenant.namespace, "gone")
    suffix = uuid.uuid4().hex[:6]
    same, left = f"e2e-same-{suffix}", f"e2e-left-{suffix}"
    extra = f"{tenant.namespace[:50]}-x"
    kube.kubectl("create", "namespace", extra)
    brokers = {name: broker(kube, name) for name in (same, left)}
    before = task_queue(tenant, "work")
    lost = task_queue(tenant, "gone")
    first = deployment(tenant, "work", before)
    async with watching(kube, tenant.namespace, folder=tmp_path, monkeypatch=monkeypatch) as seen:
        try:
            await seen.until(
                "all is seen",
                lambda world: (
                    world.task_queue(work)
                    and world.task_queue(gone)
                    and world.deployment(work)
                    and world.pods(work)
                    and world.broker(same)
                    and world.broker(left)
                    and world.namespace_labels(extra) is not None
                ),
                seconds=60,
            )
            (pod,) = seen.world.pods(work)

            seen.gap.begin()
            await asyncio.to_thread(kube.kubectl, "delete", "broker", same, left)
            await asyncio.to_thread(kube.kubectl, "delete", "namespace", extra)
            await asyncio.to_thread(delete_task_queue, tenant, "gone")
            await asyncio.to_thread(delete_task_queue, tenant, "work")
            worker = ("deployment", "work-worker", where, "--cascade=foreground")
            await asyncio.to_thread(kube.kubectl, "delete", "--ignore-not-found", *worker)
            after = await asyncio.to_thread(task_queue, tenant, "work")
            second = await asyncio.to_thread(deployment, tenant, "work", after)
            made = await asyncio.to_thread(broker, kube, same)
            assert lost in seen.world.shown(Kind.TASK_QUEUES), "the watches have seen its end"
            seen.gap.end()

            def is_true(world: World) -> bool:
                task_queue, deployed = world.task_queue(work), world.deployment(work)
                found = world.broker(same)
                return (
                    (task_queue.uid if task_queue else "") == after
                    and (deployed.uid if deployed else "") == second
                    and (found.uid if found else "") == made
                    and world.task_queue(gone) is None
                    and world.broker(left) is None
                    and world.namespace_labels(extra) is None
                    and pod.uid not in {each.uid for each in world.pods(work)}
                )

            await seen.until("no phantom is left", is_true, seconds=WITHIN)
            names = {key for key, _ in seen.world.task_queues()}
            assert names == {work}
            assert left not in {each.name for each in seen.world.brokers()}
            assert (before, first, brokers[same]) != (after, second, made)
        finally:
            kube.kubectl("delete", "broker", same, left, "--ignore-not-found")
            kube.kubectl("delete", "namespace", extra, "--ignore-not-found", "--wait=false")
