"""A TaskQueue's queue, policies and users are reconciled without any workload, or Kubernetes."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from longshore.contract.names import AMQP_URL_ENV
from longshore_operator.api.v1alpha1 import BrokerSpec
from longshore_operator.app.ports.kubernetes import Secret
from longshore_operator.app.reconciling.queues import QueueReconciler
from longshore_operator.app.reconciling.state import Reconciliation
from longshore_operator.app.sessions.session import Session
from longshore_operator.app.sessions.vhosts import Vhosts
from longshore_operator.app.watched.objects import TaskQueueObject, task_queue
from longshore_operator.app.watched.world import World
from longshore_operator.core.access.credentials import Address, hash_password
from longshore_operator.core.access.permissions import User
from longshore_operator.core.rabbitmq.inventory import Inventory
from longshore_operator.core.rabbitmq.policies import QueuePolicy
from longshore_operator.core.rabbitmq.topology import Topology
from longshore_operator.errors import Transient
from tests.unit.operator.specs import V4_3

ADDRESS = Address(
    host="rabbit", port=5672, vhost="v", management_url="", username="admin", password="secret"
)
BROKER = BrokerSpec.model_validate({"secretRef": {"name": "rabbit", "namespace": "mq"}})


@dataclass
class Vhost:
    """One virtual host in memory, which takes everything."""

    stands: Inventory = field(default_factory=Inventory)
    writes: int = 0

    async def inventory(self) -> Inventory:
        return copy.deepcopy(self.stands)

    async def policies(self) -> Mapping[str, QueuePolicy]:
        return dict(self.stands.policies)

    async def has_queue(self, name: str) -> bool:
        return name in self.stands.queues

    async def create(self, topology: Topology) -> None:
        await self.apply(topology)

    async def apply(self, topology: Topology) -> None:
        self.writes += 1
        self.stands.add(topology)

    async def create_user(self, user: User, *, password: str) -> str:
        return await self.put_user(user, password=password)

    async def put_user(self, user: User, *, password: str) -> str:
        self.writes += 1
        hashed = hash_password(password, salt=b"salt")
        self.stands.add_user(user, password_hash=hashed)
        return hashed


@dataclass
class Keyring:
    """Keeps credentials and events in memory."""

    kept: dict[str, Secret] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    async def secret(self, *, namespace: str, name: str) -> Secret | None:
        return self.kept.get(f"{namespace}/{name}")

    async def apply_secret(self, secret: Secret, *, absent: Sequence[str]) -> None:
        self.kept[f"{secret.metadata['namespace']}/{secret.metadata['name']}"] = secret

    async def rehearse_secret(self, secret: Secret) -> None:
        return

    async def event(self, *, reason: str, **_: Any) -> None:
        self.reasons.append(reason)


@dataclass
class Local:
    """A caller that has RabbitMQ and a TaskQueue, and nothing else."""

    vhost: Vhost = field(default_factory=Vhost)
    keyring: Keyring = field(default_factory=Keyring)
    state: Reconciliation = field(default_factory=Reconciliation)
    world: World = field(default_factory=lambda: World(is_complete=True))

    def __post_init__(self) -> None:
        self.session = Session(
            spec=BROKER,
            address=ADDRESS,
            features=V4_3,
            link=cast("Any", SimpleNamespace(management=self.vhost)),
            clock=lambda: 1000.0,
        )
        self.queues = QueueReconciler(
            world=self.world,
            vhosts=Vhosts(world=self.world, cluster=self.keyring),
            secrets=self.keyring,
            events=self.keyring,
            new_password=lambda: "new",
        )

    async def reconcile(self, queue: TaskQueueObject) -> bool:
        """As the loop does, which also notes what it was that it has reconciled."""
        self.world.queues = {("media", "transcode"): [queue]}
        is_repair = await self.queues.reconcile(queue, state=self.state, session=self.session)
        self.state.generation, self.state.session = queue.generation, self.session
        return is_repair


def made(**spec: Any) -> TaskQueueObject:
    worker = {"image": "media:1", "handlers": ["media.jobs"]}
    metadata = {"namespace": "media", "name": "transcode", "uid": "u", "generation": 1}
    return task_queue(
        {"metadata": metadata, "spec": {"timeLimit": {"hard": "2h"}, "worker": worker, **spec}}
    )


async def test_a_queue_its_policies_and_its_users_need_no_workers() -> None:
    local = Local()

    assert not await local.reconcile(made(queue={"maxLength": 9}))

    stands = local.vhost.stands
    assert set(stands.queues) == {"media.transcode", "media.transcode.dead"}
    assert any(name.startswith("longshore.own.") for name in stands.policies)
    assert set(stands.password_hashes) == {"v.media.transcode.producer", "v.media.transcode.worker"}
    for role in ("producer", "worker"):
        url = local.keyring.kept[f"media/transcode-{role}"].data[AMQP_URL_ENV]
        assert url == f"amqp://v.media.transcode.{role}:new@rabbit:5672/v"
    assert local.state.queue_trouble is None
    assert local.state.seen.is_declared


async def test_what_stands_is_not_written_again() -> None:
    local = Local()
    await local.reconcile(made())
    written = local.vhost.writes

    assert await local.reconcile(made())

    assert local.vhost.writes == written
    assert local.keyring.reasons == []


async def test_what_others_have_removed_is_restored_and_reported() -> None:
    local = Local()
    await local.reconcile(made())
    local.vhost.stands.forget(["media.transcode"])
    local.session.doubt()

    assert await local.reconcile(made())

    assert "media.transcode" in local.vhost.stands.queues
    assert local.keyring.reasons == ["DriftRepaired"]


async def test_nothing_is_given_to_a_task_queue_that_was_made_anew_meanwhile() -> None:
    local = Local()
    other = task_queue(
        {"metadata": {"namespace": "media", "name": "transcode", "uid": "other"}, "spec": {}}
    )
    local.world.queues = {("media", "transcode"): [other]}

    with pytest.raises(Transient, match="created again"):
        await local.queues.reconcile(made(), state=local.state, session=local.session)

    assert local.keyring.kept == {}
    assert local.state.queue_trouble is not None
    assert local.state.queue_trouble.reason == "Gone"
