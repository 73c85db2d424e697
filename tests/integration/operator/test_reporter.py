"""What is written to a status waits for nobody, and nobody waits for it."""

import asyncio

from longshore_operator.app.sessions.session import Session
from longshore_operator.core.kubernetes.deployment import DeploymentObject
from tests.integration.operator.brokers import reporter
from tests.integration.operator.fakes import Hanging
from tests.integration.operator.operating import OneBroker, Operating
from tests.integration.operator.task_queues import made, until
from tests.integration.operator.test_sleepers import publish, scaling


async def test_a_status_write_that_hangs_delays_no_scaling(session: Session) -> None:
    kubernetes = Hanging(slow="full")
    async with Operating(session, kubernetes=kubernetes).running() as operating:
        queue = made("full")
        await operating.ready(queue)
        kubernetes.deployments["media", "full-worker"] = {"metadata": {}, "spec": {}}
        operating.world.deployments = {("media", "full"): [DeploymentObject(replicas=0, uid="one")]}
        scaler = scaling(operating, session, interval=0.2)
        statuses = reporter(
            OneBroker(session),
            world=operating.world,
            kubernetes=kubernetes,
            reconciled=operating.reconciler.seen,
            scaled=scaler.seen,
        )
        loops = [asyncio.create_task(each.run()) for each in (statuses, scaler)]
        try:

            async def hangs() -> bool:
                return kubernetes.is_hanging

            await until(hangs)
            await publish(operating, "full")

            async def is_scaled() -> bool:
                return "scale full-worker to 1" in kubernetes.writes

            await until(is_scaled)
            assert "full" not in kubernetes.written
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
