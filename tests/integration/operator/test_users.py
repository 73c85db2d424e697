"""Users of a real RabbitMQ and the Secrets with their passwords: whatever goes wrong on the way."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from longshore.contract.names import AMQP_CA_ENV, AMQP_URL_ENV
from longshore_operator.app.reconciling.users import Remembered, admit
from longshore_operator.app.sessions.session import Session
from longshore_operator.core.access.credentials import Trust, password_in
from longshore_operator.core.access.passwords import ROTATION_ANNOTATION
from longshore_operator.core.access.permissions import ROLES, Role, user
from longshore_operator.core.kubernetes.owner import Owner
from longshore_operator.errors import Invalid, OperatorError, Transient
from tests.integration.operator.fakes import Kubernetes

OWNER = Owner(namespace="media", name="transcode", uid="uid-media-transcode")
WRITES = ("apply_secret", "rehearse_secret", "put_user", "put_hashed_user", "create_user")


class Killed(BaseException):
    """The operator ends here."""


@dataclass
class Operator:
    """One process of the operator: it remembers nothing of another."""

    session: Session
    kubernetes: Kubernetes
    numbers: list[int]
    remembered: Remembered = field(default_factory=Remembered)

    async def admit(self, *, rotation: str = "") -> None:
        await admit(
            OWNER,
            session=self.session,
            secrets=self.kubernetes,
            new_password=self.new_password,
            remembered=self.remembered,
            rotation=rotation,
        )

    def new_password(self) -> str:
        self.numbers.append(len(self.numbers))
        return f"password-{len(self.numbers)}"

    def restarted(self) -> "Operator":
        self.session.doubt()
        return Operator(self.session, self.kubernetes, self.numbers)

    def password(self, role: Role) -> str | None:
        """What the Secret says."""
        secret = self.kubernetes.secrets.get((OWNER.namespace, f"{OWNER.name}-{role}"), {})
        return password_in(secret.get(AMQP_URL_ENV, ""))

    def rotation(self, role: Role) -> str | None:
        metadata = self.kubernetes.metadata[OWNER.namespace, f"{OWNER.name}-{role}"]
        return (metadata.get("annotations") or {}).get(ROTATION_ANNOTATION)

    async def takes(self, role: Role, password: str | None) -> bool:
        """Whether RabbitMQ itself has this password for the role's user."""
        inventory = await self.session.management.inventory()
        who = user(vhost=self.session.address.vhost, queue=OWNER.queue, role=role)
        return password is not None and inventory.has_user(who, password=password)

    async def takes_what_the_secrets_say(self) -> bool:
        return all([await self.takes(role, self.password(role)) for role in ROLES])


@pytest.fixture
async def operator(session: Session) -> Operator:
    operator = Operator(session, Kubernetes(), [])
    await operator.admit()
    assert await operator.takes_what_the_secrets_say()
    return operator


def cut_short(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, *, at: int, after: bool
) -> Callable[[], int]:
    """Have the operator killed before or after its `at`-th write; how many writes there were."""
    count = 0

    def cut(target: Any, name: str) -> None:
        real = getattr(target, name)

        async def killed(*words: Any, **arguments: Any) -> Any:
            nonlocal count
            count += 1
            is_now = count == at
            if is_now and not after:
                raise Killed
            answer = await real(*words, **arguments)
            if is_now:
                raise Killed
            return answer

        monkeypatch.setattr(target, name, killed)

    for name in WRITES:
        cut(operator.kubernetes if "secret" in name else operator.session.management, name)
    return lambda: count


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_rotation_that_is_killed_at_any_write_is_finished_by_the_next_operator(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    kills = 0
    for at in range(1, 20):
        rotation = f"rotation-{at}"
        old = {role: operator.password(role) for role in ROLES}
        with monkeypatch.context() as patch:
            cut_short(operator, patch, at=at, after=after)
            try:
                await operator.admit(rotation=rotation)
                break  # all its writes were done without the kill
            except Killed:
                kills += 1
        for role in ROLES:
            assert await operator.takes(role, old[role]) or await operator.takes(
                role, operator.password(role)
            ), f"nobody knows the password of {role}, killed at write {at}"

        operator = operator.restarted()
        await operator.admit(rotation=rotation)

        assert await operator.takes_what_the_secrets_say(), f"killed at write {at}"
        for role in ROLES:
            assert operator.rotation(role) == rotation
            assert operator.password(role) != old[role]
    assert kills >= 8, "two rehearsals and two writes, for each of two users"


@pytest.mark.parametrize("frozen", [("worker", "producer"), ("producer",), ("worker",)])
async def test_while_a_secret_is_frozen_no_password_changes(
    operator: Operator, frozen: tuple[str, ...]
) -> None:
    old = {role: operator.password(role) for role in ROLES}
    operator.kubernetes.refused = {f"secret transcode-{role}" for role in frozen}

    for again in (operator, operator, operator.restarted()):
        with pytest.raises(Invalid, match="is frozen"):
            await again.admit(rotation="monday")
        for role in ROLES:
            assert operator.password(role) == old[role]
            assert await operator.takes(role, old[role])
    operator.kubernetes.refused = set()
    await operator.admit(rotation="monday")

    assert await operator.takes_what_the_secrets_say()
    assert [operator.rotation(role) for role in ROLES] == ["monday", "monday"]


async def test_an_operator_that_finds_another_password_in_rabbitmq_puts_back_the_secrets(
    operator: Operator,
) -> None:
    """As an older version left it, cut short while Secrets were frozen."""
    vhost = operator.session.address.vhost
    for role in ROLES:
        who = user(vhost=vhost, queue=OWNER.queue, role=role)
        await operator.session.management.put_user(who, password="nobody knows this")
    operator.kubernetes.refused = {f"secret transcode-{role}" for role in ROLES}

    await operator.restarted().admit()

    assert await operator.takes_what_the_secrets_say()


async def test_a_rotation_waits_while_rabbitmq_takes_no_writes(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = {role: operator.password(role) for role in ROLES}

    async def refuse(*_: Any, **__: Any) -> None:
        raise Transient("503", reason="ManagementFailed")

    with monkeypatch.context() as patch:
        patch.setattr(operator.session.management, "put_hashed_user", refuse)
        with pytest.raises(OperatorError):
            await operator.admit(rotation="monday")
    assert {role: operator.password(role) for role in ROLES} == old
    assert await operator.takes_what_the_secrets_say()

    await operator.admit(rotation="monday")

    assert await operator.takes_what_the_secrets_say()
    assert operator.rotation("worker") == "monday"


@pytest.mark.parametrize("role", ROLES)
async def test_a_secret_that_is_deleted_gets_back_its_password(
    operator: Operator, role: Role
) -> None:
    old = operator.password(role)
    del operator.kubernetes.secrets[OWNER.namespace, f"{OWNER.name}-{role}"]

    await operator.admit()

    assert operator.password(role) == old
    assert list(operator.remembered.repaired) == [f"Secret transcode-{role}"]
    assert not operator.remembered.renewed


async def test_a_secret_that_is_changed_gets_back_its_password(operator: Operator) -> None:
    old = operator.password("producer")
    secret = operator.kubernetes.secrets[OWNER.namespace, "transcode-producer"]
    secret[AMQP_URL_ENV] = secret[AMQP_URL_ENV].replace(str(old), "by-hand")

    await operator.admit()

    assert operator.password("producer") == old
    assert await operator.takes_what_the_secrets_say()


async def test_a_password_that_nobody_knows_any_more_is_made_anew_and_said_so(
    operator: Operator,
) -> None:
    old = operator.password("producer")
    del operator.kubernetes.secrets[OWNER.namespace, "transcode-producer"]
    operator = operator.restarted()

    await operator.admit()

    assert operator.password("producer") != old
    assert await operator.takes_what_the_secrets_say()
    assert list(operator.remembered.renewed) == ["Secret transcode-producer"]
    marks = operator.remembered.known["producer"].annotations()
    assert marks, "pods with the old password would not be replaced"


async def test_running_producers_keep_their_password_while_a_lost_secret_cannot_be_written(
    operator: Operator,
) -> None:
    old = operator.password("producer")
    del operator.kubernetes.secrets[OWNER.namespace, "transcode-producer"]
    operator.kubernetes.refused = {"secret transcode-producer"}
    operator = operator.restarted()

    with pytest.raises(Invalid):
        await operator.admit()

    assert await operator.takes("producer", old)


async def test_an_authority_that_leaves_the_broker_leaves_the_secrets(operator: Operator) -> None:
    address = operator.session.address
    for authority in ("-----BEGIN CERTIFICATE----- theirs", None):
        tls = Trust(authority=authority)
        object.__setattr__(address, "tls", tls)

        await operator.admit()

        for role in ROLES:
            secret = operator.kubernetes.secrets[OWNER.namespace, f"{OWNER.name}-{role}"]
            assert secret.get(AMQP_CA_ENV) == authority
            assert secret[AMQP_URL_ENV].startswith("amqps://")
    assert await operator.takes_what_the_secrets_say()


async def test_what_is_as_it_should_be_is_not_written(operator: Operator) -> None:
    operator.kubernetes.writes.clear()

    await operator.admit()
    await operator.restarted().admit()

    assert operator.kubernetes.writes == []
