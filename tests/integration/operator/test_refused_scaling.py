"""TaskQueues that are refused by now are still scaled, by an operator that has just started too."""

import asyncio
from dataclasses import dataclass

from longshore_operator.api.v1alpha1 import BrokerSpec
from longshore_operator.app.broker import Session
from longshore_operator.app.objects import DeploymentObject
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


async def restarted(session: Session, *, has_deployment: bool = True) -> Restarted:
    """A TaskQueue with a job, whose namespace the Broker has stopped to serve meanwhile."""
    before, queue = Operating(session), made("work")
    async with before.running():
        await before.ready(queue)
        await publish(before, "work")
    spec = session.spec.model_dump(by_alias=True, mode="json")
    session.spec = BrokerSpec.model_validate(
        {**spec, "allowedNamespaces": {"matchLabels": {"team": "another"}}}
    )
    after = Operating(session, kubernetes=before.kubernetes)
    after.world.namespaces = labelled(media={})
    after.kubernetes.deployments["media", "work-worker"] = {"metadata": {}, "spec": {}}
    standing = [DeploymentObject(replicas=0, uid="one")] if has_deployment else []
    after.world.deployments = {("media", "work"): standing}
    async with after.running():
        trouble = await after.refused(queue)
    assert trouble.reason == "NamespaceNotAllowed"
    return Restarted(after, session)


async def test_a_task_queue_that_is_refused_by_now_is_scaled_after_a_restart(
    session: Session,
) -> None:
    assert await (await restarted(session)).is_scaled()


async def test_one_that_never_stood_is_not_scaled(session: Session) -> None:
    """Whoever is refused from the start has no Deployment; its queue may be another's."""
    found = await restarted(session, has_deployment=False)

    assert not await found.is_scaled(within=2.0)
