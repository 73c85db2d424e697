"""What someone deletes or changes by hand is back within 10 s, and an event says what it was."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from copy import deepcopy

import httpx
import pytest

from longshore.contract.names import AMQP_URL_ENV, JOBS_EXCHANGE, REPORTS_EXCHANGE
from longshore_operator.adapters.management.api import Management
from longshore_operator.app.reconciling.patrol import PATIENCE
from longshore_operator.app.sessions.session import Session
from longshore_operator.core.access.credentials import password_in
from longshore_operator.core.access.permissions import ROLES, Role, user
from longshore_operator.core.rabbitmq.topology import entry_bindings
from tests.integration.operator.brokers import opened
from tests.integration.operator.operating import Operating
from tests.integration.operator.task_queues import Tenants, made, until

WITHIN = 10.0
QUEUE = "media.transcode"
Harm = Callable[[Management, str], Awaitable[None]]


@pytest.fixture
async def operating(session: Session) -> AsyncIterator[Operating]:
    async with Operating(session).running() as operating:
        yield operating


async def another_password(management: Management, vhost: str) -> None:
    await management.delete_user(f"{vhost}.{QUEUE}.worker")


HARM: dict[str, tuple[Harm, str]] = {
    "queue": (lambda m, _: m.delete_queue(QUEUE), f"queue {QUEUE}"),
    "dead-letter queue": (lambda m, _: m.delete_queue(f"{QUEUE}.dead"), f"queue {QUEUE}.dead"),
    "binding": (lambda m, _: m.unbind(entry_bindings(QUEUE)[0]), "binding longshore.jobs to"),
    "own policy": (
        lambda m, _: m.delete_policy(f"longshore.own.{QUEUE}"),
        f"policy longshore.own.{QUEUE}",
    ),
    "changed policy": (
        lambda m, vhost: m._write(
            "PUT", "policies", vhost, f"longshore.own.{QUEUE}",
            body={"pattern": "^changed$", "definition": {"max-length": 1}},
        ),
        f"policy longshore.own.{QUEUE}",
    ),
    "default policy": (lambda m, _: m.delete_policy("longshore.jobs"), "policy longshore.jobs"),
    "exchange": (lambda m, vhost: m._remove("exchanges", vhost, JOBS_EXCHANGE), JOBS_EXCHANGE),
    "user": (another_password, ".media.transcode.worker"),
    "permission": (
        lambda m, vhost: m._remove("permissions", vhost, f"{vhost}.{QUEUE}.producer"),
        ".media.transcode.producer",
    ),
    "topic permission": (
        lambda m, vhost: m._remove("topic-permissions", vhost, f"{vhost}.{QUEUE}.producer"),
        ".media.transcode.producer",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", HARM)
async def test_it_is_back_within_ten_seconds_with_an_event(operating: Operating, what: str) -> None:
    await operating.ready(made(queue={"maxLength": 9}))
    management, vhost = opened(operating.session).management, operating.session.address.vhost
    before = await management.inventory()
    harm, words = HARM[what]

    await harm(management, vhost)
    harmed_at = looked_at = time.monotonic()

    async def is_back() -> bool:
        nonlocal looked_at
        looked_at = time.monotonic()
        now = await management.inventory()
        return (
            (set(now.queues), now.bindings, now.policies, set(now.exchanges))
            == (set(before.queues), before.bindings, before.policies, set(before.exchanges))
            and (now.permissions, now.topics) == (before.permissions, before.topics)
            and set(now.password_hashes) >= set(before.permissions)
        )

    await until(is_back, within=30)

    async def told() -> bool:
        return "DriftRepaired" in operating.kubernetes.events

    await until(told, within=30)
    assert looked_at - harmed_at <= WITHIN
    assert words in " ".join(operating.kubernetes.messages)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("what", [{"password": "by-hand"}, {"tags": "administrator"}], ids=str)
async def test_a_user_that_was_changed_is_as_before_within_ten_seconds(
    operating: Operating, role: Role, what: dict[str, str]
) -> None:
    await operating.ready(made())
    management, vhost = operating.session.management, operating.session.address.vhost
    who = user(vhost=vhost, queue=QUEUE, role=role)
    secret = operating.kubernetes.secrets["media", f"transcode-{role}"]
    password = password_in(secret[AMQP_URL_ENV])
    assert password is not None

    await operating.put("users", who.name, **({"password": password, "tags": ""} | what))
    harmed_at = time.monotonic()

    async def is_back() -> bool:
        return (await management.inventory()).has_user(who, password=password)

    assert not await is_back()
    await until(is_back, within=30)
    assert time.monotonic() - harmed_at <= WITHIN

    async def told() -> bool:
        return f"user {who.name}" in " ".join(operating.kubernetes.messages)

    await until(told, within=30)


MORE_RIGHTS: dict[str, Harm] = {
    "topic permission": lambda m, vhost: m._write(
        "PUT", "topic-permissions", vhost, f"{vhost}.{QUEUE}.worker",
        body={"exchange": "amq.topic", "write": ".*", "read": ".*"},
    ),
    "another vhost": lambda m, vhost: m._write(
        "PUT", "permissions", "/", f"{vhost}.{QUEUE}.worker",
        body={"configure": "", "write": ".*", "read": ".*"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", MORE_RIGHTS)
async def test_a_user_that_was_given_more_rights_has_its_own_again_and_no_more_is_written(
    operating: Operating, what: str
) -> None:
    await operating.ready(made())
    management, vhost = opened(operating.session).management, operating.session.address.vhost
    who = user(vhost=vhost, queue=QUEUE, role="worker")
    await MORE_RIGHTS[what](management, vhost)
    harmed_at = time.monotonic()
    operating.session.doubt()

    async def is_back() -> bool:
        return (await management.inventory()).has_rights(who)

    assert not await is_back()
    await until(is_back, within=30)
    assert time.monotonic() - harmed_at <= WITHIN


EXCHANGES: dict[str, dict[str, object]] = {
    "transient": {"type": "topic", "durable": False},
    "internal": {"type": "topic", "durable": True, "internal": True},
    "auto-delete": {"type": "topic", "durable": True, "auto_delete": True},
    "of another type": {"type": "direct", "durable": True},
}


@pytest.mark.parametrize("what", EXCHANGES)
async def test_an_exchange_that_was_remade_otherwise_is_as_before_within_ten_seconds(
    operating: Operating, what: str
) -> None:
    await operating.ready(made())
    management, vhost = opened(operating.session).management, operating.session.address.vhost
    before = (await management.inventory()).bindings
    flags = ("type", "durable", "auto_delete", "internal", "arguments")

    async def said() -> list[object]:
        found = await Tenants(operating.session).get("exchanges", vhost, JOBS_EXCHANGE)
        return [found[flag] for flag in flags]

    wanted = await said()
    await management.delete_exchange(JOBS_EXCHANGE)
    await operating.put("exchanges", vhost, JOBS_EXCHANGE, **EXCHANGES[what])
    harmed_at = time.monotonic()

    assert await said() != wanted

    async def is_back() -> bool:
        try:
            return await said() == wanted and (await management.inventory()).bindings == before
        except httpx.HTTPStatusError:
            return False  # it is being made anew

    await until(is_back, within=30)
    assert time.monotonic() - harmed_at <= WITHIN


async def test_every_setting_of_a_rollout_that_was_changed_is_back_within_ten_seconds(
    operating: Operating,
) -> None:
    await operating.ready(made())
    deployments, key = operating.kubernetes.deployments, ("media", "transcode-worker")
    before = deepcopy(deployments[key]["spec"])
    changed = {
        "minReadySeconds": 300,
        "progressDeadlineSeconds": 5,
        "paused": True,
        "revisionHistoryLimit": 0,
    }
    deployments[key]["spec"] |= changed
    harmed_at = time.monotonic()

    async def is_back() -> bool:
        return bool(deployments[key]["spec"] == before)

    await until(is_back, within=30)
    assert time.monotonic() - harmed_at <= WITHIN


async def test_a_deployment_that_was_changed_or_deleted_is_back_within_ten_seconds(
    operating: Operating,
) -> None:
    await operating.ready(made())
    deployments, key = operating.kubernetes.deployments, ("media", "transcode-worker")
    before = deepcopy(deployments[key]["spec"]["template"])

    for harm in (lambda live: live["spec"]["template"].pop("metadata"), lambda _: None):
        live = deepcopy(deployments.pop(key))
        if harm(live):
            deployments[key] = live
        harmed_at = time.monotonic()

        async def is_back() -> bool:
            return key in deployments and deployments[key]["spec"]["template"] == before

        await until(is_back, within=30)
        assert time.monotonic() - harmed_at <= WITHIN

        async def told() -> bool:
            return "Deployment transcode-worker" in " ".join(operating.kubernetes.messages)

        await until(told, within=10)
        operating.kubernetes.messages.clear()


async def test_a_controller_that_never_rests_does_not_have_pods_replaced_for_ever(
    operating: Operating, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longshore_operator.app.reconciling.patrol.INVENTORY_AGE", 0.1)
    await operating.ready(made())
    deployments, key = operating.kubernetes.deployments, ("media", "transcode-worker")
    before = deepcopy(deployments[key]["spec"]["template"])
    restored = 0

    async def is_left_alone() -> bool:
        """Whether what was changed stays so for longer than it took to restore it before."""
        nonlocal restored
        deployments[key]["spec"]["template"] = {"changed": restored}

        async def is_back() -> bool:
            return bool(deployments[key]["spec"]["template"] == before)

        try:
            await until(is_back, within=4)
        except TimeoutError:
            return True
        restored += 1
        return False

    await until(is_left_alone, within=60)
    assert restored == PATIENCE


async def test_a_disruption_budget_that_was_deleted_is_back_within_ten_seconds(
    operating: Operating,
) -> None:
    record = await operating.ready(made())
    operating.kubernetes.deployments["media", "transcode-worker"]["spec"]["replicas"] = 1

    async def is_there() -> bool:
        return ("media", "transcode-worker") in operating.kubernetes.budgets

    await until(is_there, within=10)
    await operating.settled(made())
    assert "PodDisruptionBudget transcode-worker" in record.placed

    operating.kubernetes.budgets.clear()
    harmed_at = time.monotonic()

    await until(is_there, within=30)
    assert time.monotonic() - harmed_at <= WITHIN


async def test_secrets_are_looked_at_in_turn_and_restored_with_their_password(
    operating: Operating, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longshore_operator.app.reconciling.rounds.SECRETS_AGE", 1.0)
    await operating.ready(made())
    secrets = operating.kubernetes.secrets
    before = {key: dict(data) for key, data in secrets.items()}

    secrets.pop(("media", "transcode-producer"))
    secrets["media", "transcode-worker"].pop(AMQP_URL_ENV)

    async def is_back() -> bool:
        return secrets == before

    await until(is_back, within=10)

    async def told() -> bool:
        return all(
            f"Secret transcode-{role}" in " ".join(operating.kubernetes.messages) for role in ROLES
        )

    await until(told, within=10)


async def test_reports_are_heard_again_by_a_new_session(operating: Operating) -> None:
    await operating.ready(made())
    session = operating.session
    assert not session.is_void

    await opened(session).management._remove("exchanges", session.address.vhost, REPORTS_EXCHANGE)

    async def void() -> bool:
        return session.is_void

    await until(void, within=30)


async def test_a_shared_exchange_that_a_task_queue_needs_now_does_not_wait_for_the_patrol(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longshore_operator.app.reconciling.patrol.INVENTORY_AGE", float("inf"))
    async with Operating(session).running() as operating:
        await operating.ready(made())
        management, vhost = opened(session).management, session.address.vhost
        before = await management.inventory()
        await management._remove("exchanges", vhost, JOBS_EXCHANGE)
        session.doubt()

        operating.apply(made(generation=2))

        async def is_back() -> bool:
            now = await management.inventory()
            return (set(now.exchanges), now.bindings) == (set(before.exchanges), before.bindings)

        await until(is_back, within=30)


async def test_what_is_written_for_the_first_time_is_no_drift(operating: Operating) -> None:
    await operating.ready(made())
    await operating.ready(made(generation=2, queue={"maxLength": 9}))

    assert operating.kubernetes.events == []
