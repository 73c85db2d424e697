"""TaskQueues that are refused by now are still scaled, by an operator that has just started too."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from longshore_operator.api.v1alpha1 import BrokerSpec
from longshore_operator.app.sessions.session import Session
from longshore_operator.core.kubernetes.deployment import DeploymentObject
from tests.integration.operator.operating import Operating
from tests.integration.operator.task_queues import labelled, made, until
from tests.integration.operator.test_sleepers import publish, scaling


@dataclass
class Restarted:
    """What an operator that has just started sees, and what it asked of Kubernetes."""

    operating: Operating
    session: Session

    async def is_scaled(self, *, within: float = 10.0) -> bool:
        loop = asyncio.create_task(scaling(self.operating, self.session, interval=0.2).run())

        async def look() -> bool:
            return "scale work-worker to 1" in self.operating.kubernetes.writes

        try:
            await until(look, within=within)
        except TimeoutError:
            return False
        finally:
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)
        return True


async def namespace_no_longer_served(before: Operating) -> None:
    session = before.session
    spec = session.spec.model_dump(by_alias=True, mode="json")
    session.spec = BrokerSpec.model_validate(
        {**spec, "allowedNamespaces": {"matchLabels": {"team": "another"}}}
    )


async def policy_name_taken(before: Operating) -> None:
    vhost = before.session.address.vhost
    theirs = {"pattern": "^theirs", "priority": 1, "apply-to": "queues"}
    name = "longshore.own.media.work"
    await before.put("policies", vhost, name, **theirs, definition={"max-length": 7})


async def dead_letter_queue_made_anew(before: Operating) -> None:
    connection = before.administrator()
    connection.channel().queue_delete("media.work.dead")
    connection.close()
    before.declare("media.work.dead")


async def restarted(
    session: Session,
    *,
    refuse: Callable[[Operating], Awaitable[None]] = namespace_no_longer_served,
    has_deployment: bool = True,
) -> tuple[Restarted, str]:
    """A TaskQueue with a job that an operator brought to RabbitMQ before something changed that
    has the next operator refuse it; and why that does."""
    before, queue = Operating(session), made("work", queue={"maxLength": 5})
    async with before.running():
        await before.ready(queue)
        await publish(before, "work")
    await refuse(before)
    after = Operating(session, kubernetes=before.kubernetes)
    after.world.namespaces = labelled(media={})
    after.kubernetes.deployments["media", "work-worker"] = {"metadata": {}, "spec": {}}
    standing = [DeploymentObject(replicas=0, uid="one")] if has_deployment else []
    after.world.deployments = {("media", "work"): standing}
    async with after.running():
        trouble = await after.refused(queue)
    return Restarted(after, session), trouble.reason


@pytest.mark.parametrize(
    ("refuse", "reason"),
    [
        (namespace_no_longer_served, "NamespaceNotAllowed"),
        (policy_name_taken, "PolicyNameTaken"),
        (dead_letter_queue_made_anew, "QueueDiffers"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_task_queue_that_is_refused_by_now_is_scaled_after_a_restart(
    session: Session, refuse: Callable[[Operating], Awaitable[None]], reason: str
) -> None:
    found, why = await restarted(session, refuse=refuse)

    assert why == reason
    assert await found.is_scaled()


async def test_one_that_never_stood_is_not_scaled(session: Session) -> None:
    """Whoever is refused from the start has no Deployment; its queue may be another's."""
    found, _ = await restarted(session, has_deployment=False)

    assert not await found.is_scaled(within=2.0)
