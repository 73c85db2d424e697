"""Depths of many queues at once, some of them missing."""

from longshore.amqp.publication import Properties
from longshore.contract.names import JOBS_EXCHANGE
from longshore_operator.adapters.rabbitmq.depths import AT_ONCE, CHANNELS
from longshore_operator.app.sessions.session import Session
from longshore_operator.core.rabbitmq.depth import Depth, Missing
from longshore_operator.core.rabbitmq.topology import Binding, QueueDefinition, Topology
from tests.integration.operator.brokers import opened
from tests.integration.operator.task_queues import until

COUNT = AT_ONCE * CHANNELS + 30


def queue_of(number: int) -> str:
    return f"depths.q{number:03}"


async def test_each_queue_has_its_own_depth_whichever_are_missing(session: Session) -> None:
    # Classic ones are made fast; a passive declare answers for both kinds alike.
    there = [number for number in range(COUNT) if number % 7]
    queues = tuple(QueueDefinition(name=queue_of(number), type="classic") for number in there)
    full = [number for number in there if number % 5 == 0]
    bindings = tuple(
        Binding(source=JOBS_EXCHANGE, key=queue_of(number), destination=queue_of(number))
        for number in full
    )
    await session.management.create(Topology(queues=queues, bindings=bindings))
    channel = await opened(session)._connection.channel()
    for number in full:
        for _ in range(number % 3 + 1):
            channel.publish(JOBS_EXCHANGE, queue_of(number), b"", Properties())
    wanted = {
        queue_of(number): Depth(ready=number % 3 + 1 if number in full else 0, consumers=0)
        if number % 7
        else Missing()
        for number in range(COUNT)
    }

    async def is_as_published() -> bool:
        return await session.link.depths.read(wanted) == wanted

    await until(is_as_published, within=20)


async def test_the_same_connection_is_read_again_and_again(session: Session) -> None:
    await session.management.create(Topology(queues=(QueueDefinition(name=queue_of(1)),)))
    names = [queue_of(1), queue_of(2)]

    for _ in range(20):
        found = await session.link.depths.read(names)

        assert found[queue_of(2)] == Missing()
        assert isinstance(found[queue_of(1)], Depth)
