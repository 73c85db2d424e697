"""The users of a TaskQueue in RabbitMQ, and the Secrets with their credentials.

The Secret determines its user's password, and RabbitMQ follows: a new password is written to the
Secret first. If an attempt is interrupted, the next one reads the Secret and continues from there.
In the opposite order, RabbitMQ could end up with a password that nobody knows. See ADR 9.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from longshore.contract.names import (
    AMQP_CA_ENV,
    AMQP_URL_ENV,
    QUEUE_ENV,
    producer_name,
    worker_name,
)
from longshore_operator.app.ports.kubernetes import ReadableSecrets, Secret, Secrets
from longshore_operator.app.sessions.session import Session
from longshore_operator.core.access.passwords import (
    Credentials,
    Step,
    credentials_in,
    plan_password,
)
from longshore_operator.core.access.permissions import ROLES, Role, User, user
from longshore_operator.core.kubernetes.overlay import contains
from longshore_operator.core.kubernetes.owner import Owner
from longshore_operator.core.rabbitmq.inventory import Inventory
from longshore_operator.errors import Invalid


@dataclass(slots=True)
class Remembered:
    """What the operator remembers of a TaskQueue's users from one attempt to the next."""

    known: dict[Role, Credentials] = field(default_factory=dict, repr=False)
    """Credentials on which the Secret and RabbitMQ agreed at the last look."""

    repaired: dict[str, None] = field(default_factory=dict)
    """Objects that were deleted or changed by hand, in words, and not yet reported."""

    renewed: dict[str, None] = field(default_factory=dict)
    """Secrets that got a new password because the old one is lost, in words, not yet reported."""


_SECRET_NAMES: Mapping[Role, Callable[[str], str]] = {
    "worker": worker_name,
    "producer": producer_name,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seat:
    """One user: what was found, and what it should have."""

    role: Role
    user: User
    secret_name: str
    secret: Secret | None
    step: Step
    credentials: Credentials = field(repr=False)


async def admit(
    owner: Owner,
    *,
    session: Session,
    secrets: Secrets,
    new_password: Callable[[], str],
    remembered: Remembered,
    source: str | None = None,
    rotation: str = "",
) -> None:
    """Give the TaskQueue its worker and producer users, and their credentials as Secrets.

    Passwords stay until `rotation` changes or they are lost; `remembered` is brought up to date.
    Raises Transient or Invalid. In that case each user still has the password that its Secret
    contains, or gets it at the next attempt.
    """
    seats = await asyncio.gather(
        *(
            _look(
                role,
                owner,
                session=session,
                secrets=secrets,
                new_password=new_password,
                known=remembered.known.get(role),
                source=source,
                rotation=rotation,
            )
            for role in ROLES
        )
    )
    rotated = [seat for seat in seats if seat.step is Step.ROTATE]
    # Both users get new passwords, or neither does if a failure can be foreseen.
    await asyncio.gather(
        *(_rehearse(seat, owner, session=session, secrets=secrets) for seat in rotated)
    )
    outcomes = await asyncio.gather(
        *(
            _settle(seat, owner, session=session, secrets=secrets, remembered=remembered)
            for seat in seats
        ),
        # A failure with one user must not leave the other half-done.
        return_exceptions=True,
    )
    for outcome in outcomes:
        if outcome is not None:
            raise outcome


async def are_secrets_intact(
    owner: Owner, *, session: Session, secrets: ReadableSecrets, remembered: Remembered
) -> bool:
    """Return whether the Secrets still contain what is remembered of them. Raises Transient."""
    for role, credentials in list(remembered.known.items()):
        name = _SECRET_NAMES[role](owner.name)
        secret = await secrets.secret(namespace=owner.namespace, name=name)
        who = user(vhost=session.address.vhost, queue=owner.queue, role=role)
        data = _data(who, owner, session=session, credentials=credentials)
        metadata = _metadata(name, owner, credentials)
        if secret is None or not _is_as_wanted(secret, metadata=metadata, data=data):
            return False
    return True


def are_users_intact(
    owner: Owner,
    *,
    source: str,
    session: Session,
    inventory: Inventory,
    remembered: Remembered,
) -> bool:
    """Return whether RabbitMQ has the users with their rights and the remembered passwords."""
    for role in ROLES:
        who = user(vhost=session.address.vhost, queue=owner.queue, role=role, source=source)
        known = remembered.known.get(role)
        if known is None and not inventory.has_rights(who):
            return False
        if known is not None and not inventory.has_user(who, password=known.password):
            return False
    return True


async def _look(
    role: Role,
    owner: Owner,
    *,
    session: Session,
    secrets: Secrets,
    new_password: Callable[[], str],
    known: Credentials | None,
    source: str | None,
    rotation: str,
) -> _Seat:
    name = _SECRET_NAMES[role](owner.name)
    secret = await secrets.secret(namespace=owner.namespace, name=name)
    if secret and not owner.owns(secret.metadata):
        raise Invalid(
            f"Secret {owner.namespace}/{name} already exists and was not created by Longshore; "
            "rename the Secret or the TaskQueue",
            reason="SecretNotOurs",
        )
    wanted = user(vhost=session.address.vhost, queue=owner.queue, role=role, source=source)
    inventory = await session.inventory()
    annotations = (secret.metadata.get("annotations") or {}) if secret else {}
    step, credentials = plan_password(
        found=credentials_in(secret.data, annotations, key=AMQP_URL_ENV) if secret else None,
        known=known,
        is_user=wanted.name in inventory.password_hashes,
        rotation=rotation,
        new_password=new_password,
    )
    return _Seat(
        role=role,
        user=wanted,
        secret_name=name,
        secret=secret,
        step=step,
        credentials=credentials,
    )


async def _rehearse(seat: _Seat, owner: Owner, *, session: Session, secrets: Secrets) -> None:
    """Raise whatever would prevent a new password from being written, before any is written."""
    await secrets.rehearse_secret(_secret(seat, owner, session=session))
    inventory = await session.inventory()
    if password_hash := inventory.password_hashes.get(seat.user.name):
        await session.management.put_hashed_user(seat.user, password_hash=password_hash)


async def _settle(
    seat: _Seat, owner: Owner, *, session: Session, secrets: Secrets, remembered: Remembered
) -> None:
    """Write the Secret, then the user, unless they are as they should be."""
    known, password = remembered.known, seat.credentials.password
    before = known.pop(seat.role, None)  # until the outcome is certain
    is_repair = before is not None and seat.step is not Step.ROTATE
    if seat.step is Step.CREATE:
        # A producer that waits for its Secret connects as soon as that is there.
        hashed = await session.management.create_user(seat.user, password=password)
        session.note(partial(Inventory.add_user, user=seat.user, password_hash=hashed))
        known[seat.role] = seat.credentials
    data = _data(seat.user, owner, session=session, credentials=seat.credentials)
    if seat.secret is None or not _is_as_wanted(
        seat.secret,
        metadata=_metadata(seat.secret_name, owner, seat.credentials),
        data=data,
    ):
        wanted = _secret(seat, owner, session=session)
        await secrets.apply_secret(wanted, absent=[AMQP_CA_ENV] if AMQP_CA_ENV not in data else [])
        if seat.step is Step.RENEW:
            remembered.renewed[f"Secret {seat.secret_name}"] = None
        elif is_repair:
            remembered.repaired[f"Secret {seat.secret_name}"] = None
    inventory = await session.inventory()
    if not inventory.has_user(seat.user, password=password):
        hashed = await session.management.put_user(seat.user, password=password)
        session.note(partial(Inventory.add_user, user=seat.user, password_hash=hashed))
        if is_repair:
            remembered.repaired[f"user {seat.user.name}"] = None
    known[seat.role] = seat.credentials


def _data(who: User, owner: Owner, *, session: Session, credentials: Credentials) -> dict[str, str]:
    data = {
        AMQP_URL_ENV: session.address.amqp_url(username=who.name, password=credentials.password),
        QUEUE_ENV: owner.queue,
    }
    if session.address.authority:
        data[AMQP_CA_ENV] = session.address.authority
    return data


def _metadata(name: str, owner: Owner, credentials: Credentials) -> dict[str, Any]:
    annotations = credentials.annotations()
    return owner.metadata(name) | ({"annotations": annotations} if annotations else {})


def _is_as_wanted(secret: Secret, *, metadata: Mapping[str, Any], data: Mapping[str, str]) -> bool:
    """Compare a Secret; keys, labels, annotations and owners that others added do not matter."""
    owners = secret.metadata.get("ownerReferences") or ()
    others = {name: value for name, value in metadata.items() if name != "ownerReferences"}
    return (
        contains(secret.data, data)
        and (AMQP_CA_ENV in data or AMQP_CA_ENV not in secret.data)
        and contains(secret.metadata, others)
        and all(
            any(contains(each, ours) for each in owners) for ours in metadata["ownerReferences"]
        )
    )


def _secret(seat: _Seat, owner: Owner, *, session: Session) -> Secret:
    return Secret(
        data=_data(seat.user, owner, session=session, credentials=seat.credentials),
        metadata=_metadata(seat.secret_name, owner, seat.credentials),
    )
