"""Writes the status of Brokers."""

from collections.abc import Callable
from dataclasses import dataclass

from longshore_operator.api.v1alpha1 import BrokerStatus
from longshore_operator.app.ports.kubernetes import Reportable
from longshore_operator.app.sessions.keeper import CONNECTING
from longshore_operator.app.sessions.session import Sessions
from longshore_operator.app.watched.objects import BrokerObject
from longshore_operator.app.watched.world import World
from longshore_operator.core.status import (
    broker_condition,
    broker_features,
    merge_patch,
    policy_condition,
    stamped,
)
from longshore_operator.trouble import Trouble


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerStatuses:
    """The only writer of Brokers' status. `now` returns RFC 3339."""

    world: World
    keeper: Sessions
    cluster: Reportable
    now: Callable[[], str]

    async def write(self, broker: BrokerObject) -> None:
        """Bring the status up to date with one patch, or with none. Raises Transient, Invalid."""
        trouble = self.keeper.trouble(broker.name)
        if trouble == CONNECTING:
            return  # a verdict will follow in a moment; the old status stands until then
        status = self._status(broker, trouble)
        after = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        if patch := merge_patch(broker.raw_status, after):
            await self.cluster.patch_broker_status(name=broker.name, patch=patch)

    def _status(self, broker: BrokerObject, trouble: Trouble | None) -> BrokerStatus:
        session = self.keeper.session(broker.name)
        before = broker.status
        version = session.link.version if session else before.version
        return BrokerStatus(
            observed_generation=broker.generation,
            conditions=stamped(
                [
                    broker_condition(
                        trouble or (session.alarm if session else None), version=version
                    ),
                    *([policy_condition(session.policy_trouble)] if session else []),
                ],
                generation=broker.generation,
                before=before.conditions,
                now=self.now(),
            ),
            version=version,
            features=broker_features(session.features) if session else before.features,
            task_queues=sum(
                task_queue.spec is not None and task_queue.spec.broker.name == broker.name
                for _, task_queue in self.world.task_queues()
            ),
        )
