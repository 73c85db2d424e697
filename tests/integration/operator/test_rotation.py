"""New passwords for worker and producer, by annotation, and no running job is dropped."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pika
import pika.exceptions
import pytest

from longshore import Client
from longshore.contract.names import AMQP_URL_ENV
from longshore_operator.app.sessions.session import Session
from longshore_operator.core.access.credentials import password_in
from tests.integration.operator.brokers import opened
from tests.integration.operator.operating import Operating
from tests.integration.operator.task_queues import made, until
from tests.integration.worker.workers import Bench, elsewhere


@pytest.fixture
async def operating(session: Session) -> AsyncIterator[Operating]:
    async with Operating(session).running() as operating:
        yield operating


def secret(operating: Operating, role: str) -> dict[str, str]:
    return dict(operating.kubernetes.secrets["media", f"transcode-{role}"])


async def test_a_running_job_outlives_the_rotation_and_is_done_once(
    operating: Operating, tmp_path: Path
) -> None:
    await operating.ready(made())
    old = {role: secret(operating, role) for role in ("worker", "producer")}
    bench = Bench(elsewhere(), "media.transcode", tmp_path)

    def start() -> None:
        bench.started(env=old["worker"])
        with Client.from_env(old["producer"]) as client:
            client.enqueue("media.transcode", "sleep", diary=bench.diary, seconds=4)
        bench.wait_lines(1)

    try:
        await asyncio.to_thread(start)
        await operating.ready(made(rotation="monday"))
        assert len(bench.lines()) == 1, "it was too late: the job had ended before"

        await asyncio.to_thread(bench.wait_lines, 2)
        # Both were one attempt, and it was acked over the connection of the old password.
        await until(lambda: _is_empty(operating))
    finally:
        bench.end()
    new = {role: secret(operating, role) for role in ("worker", "producer")}
    for role in new:
        assert password_in(new[role][AMQP_URL_ENV]) != password_in(old[role][AMQP_URL_ENV])
        assert await asyncio.to_thread(_connects, new[role])
        assert not await asyncio.to_thread(_connects, old[role])
    assert operating.kubernetes.events == [], "a rotation is no drift"


async def test_a_rotation_happens_once_and_makes_new_pods(operating: Operating) -> None:
    await operating.ready(made(rotation="monday"))
    first = secret(operating, "worker")

    await operating.ready(made(rotation="monday", generation=2))
    assert secret(operating, "worker") == first
    await operating.ready(made(rotation="tuesday", generation=2))

    assert secret(operating, "worker") != first
    deployment = operating.kubernetes.deployments["media", "transcode-worker"]
    annotations = deployment["spec"]["template"]["metadata"]["annotations"]
    assert annotations["longshore.dev/credentials-rotated"] == "tuesday"


async def test_taking_the_annotation_away_replaces_no_pods(operating: Operating) -> None:
    await operating.ready(made(rotation="monday"))
    before = operating.kubernetes.deployments["media", "transcode-worker"]["spec"]["template"]

    await operating.ready(made(rotation=""))
    await operating.ready(made(rotation="", generation=2))

    after = operating.kubernetes.deployments["media", "transcode-worker"]["spec"]["template"]
    assert after == before


def _connects(environment: dict[str, str]) -> bool:
    try:
        pika.BlockingConnection(pika.URLParameters(environment[AMQP_URL_ENV])).close()
    except pika.exceptions.AMQPError:
        return False
    return True


async def _is_empty(operating: Operating) -> bool:
    count = await opened(operating.session).management.count("media.transcode")
    return count is not None and count.jobs == 0
