"""A RabbitMQ whose nodes are upgraded one after the other.

4.0.5 and 4.3.6, the two that the tests have, refuse to be in one cluster: so RabbitMQ is real, and
only what it says of its nodes' versions is not.
"""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from longshore.contract.features import features_of
from longshore_operator.adapters.management.api import Management
from longshore_operator.app.sessions import keeper as keepers
from longshore_operator.app.sessions.session import Session
from longshore_operator.core.kubernetes.workload import deployment_manifest, timeouts
from tests.integration.operator.brokers import SECRET, keeping, outcome
from tests.integration.operator.fakes import Kubernetes
from tests.integration.operator.task_queues import made
from tests.integration.operator.test_sessions import anew, reaching

Nodes = Callable[..., None]


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Nodes:
    """Sets the versions of the running nodes."""
    versions = list[str]()
    get = Management._get

    async def answer(management: Management, *path: str) -> Any:
        if path[0] != "nodes":
            return await get(management, *path)
        return [
            {"running": True, "applications": [{"name": "rabbit", "version": version}]}
            for version in versions
        ]

    def are(*those: str) -> None:
        versions[:] = those

    monkeypatch.setattr(Management, "_get", answer)
    monkeypatch.setattr(keepers, "SECRET_AGE", 0.5)
    return are


def template(session: Session) -> Mapping[str, Any]:
    """Of the workers' pods: another one replaces them all."""
    queue = made()
    assert queue.spec is not None
    found = deployment_manifest(
        queue.owner,
        spec=queue.spec,
        timeouts=timeouts(queue.spec, features=session.features),
        heartbeat=session.spec.heartbeat,
        broker=str(session.address),
    )
    template: Mapping[str, Any] = found["spec"]["template"]
    return template


async def test_workers_are_replaced_once_however_often_the_operator_reconnects(
    session: Session, nodes: Nodes
) -> None:
    where = session.address
    secrets = {SECRET: {"username": where.username, "password": where.password}}
    nodes("4.2.9", "4.2.9", "4.2.9")
    async with keeping(reaching(where), kubernetes=Kubernetes(secrets=secrets)) as brokers:
        first = await outcome(brokers)
        assert isinstance(first, Session), first
        templates = [template(first)]
        for versions in (("4.3.6", "4.2.9", "4.2.9"), ("4.3.6", "4.2.9"), ("4.2.9", "4.3.6")):
            nodes(*versions)
            before = brokers.session("default")
            assert before is not None
            before.give_up()
            templates.append(template(await anew(brokers, before)))
        assert templates == [templates[0]] * 4

        last = brokers.session("default")
        assert last is not None
        nodes("4.3.6", "4.3.6", "4.3.6")
        upgraded = await anew(brokers, last)

    assert upgraded.features == features_of("4.3.6")
    assert template(upgraded) != templates[0]
