"""The operator publishes a job as a client does, and hears what became of it."""

from dataclasses import replace

import pytest

from longshore.contract.names import JOBS_EXCHANGE
from longshore.producing.submission import Submission, prepare
from longshore_operator.app.sessions.session import Session
from longshore_operator.core.rabbitmq.depth import Depth
from longshore_operator.core.rabbitmq.topology import Binding, QueueDefinition, Topology
from longshore_operator.errors import Invalid, Transient
from tests.integration.operator.brokers import opened
from tests.integration.operator.task_queues import until

QUEUE = "media.transcode"

THERE = Topology(
    queues=(QueueDefinition(name=QUEUE),),
    bindings=(Binding(source=JOBS_EXCHANGE, key=QUEUE, destination=QUEUE),),
)


def job(*, delay: float = 0) -> Submission:
    return prepare(
        QUEUE,
        "render",
        {"scene": 7},
        delay=delay,
        priority=0,
        expires_in=None,
        headers={},
        now=0,
        entropy=bytes(10),
    )


async def test_a_job_stands_in_its_queue_when_the_call_returns(session: Session) -> None:
    await session.management.create(THERE)
    link = opened(session)
    for _ in range(3):
        await link.jobs.publish(job())

    async def stand() -> bool:
        return await link.depths.read([QUEUE]) == {QUEUE: Depth(ready=3, consumers=0)}

    await until(stand)


async def test_what_was_not_stored_is_told_and_the_next_job_arrives(session: Session) -> None:
    link = opened(session)
    with pytest.raises(Transient, match=f"a job for {QUEUE}: unroutable: 312 NO_ROUTE"):
        await link.jobs.publish(job())

    broken = replace(job(), properties={"headers": {"x": "y" * 200_000}})
    with pytest.raises(Invalid, match="properties and headers take 200"):
        await link.jobs.publish(broken)

    with pytest.raises(Invalid, match="406 PRECONDITION_FAILED"):
        await link.jobs.publish(replace(job(), body=b"x" * 17 * 2**20))

    with pytest.raises(Transient, match="no exchange 'no-such'"):
        await link.jobs.publish(replace(job(), exchange="no-such"))

    await session.management.create(THERE)
    await link.jobs.publish(job())
    assert not link.is_lost
