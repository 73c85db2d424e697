"""Connections, channels and consumers that end, hang or come back."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest

from longshore.contract.message import DEAD_REASON
from longshore.contract.names import JOBS_EXCHANGE
from tests.integration import topology
from tests.integration.relay import Relay
from tests.integration.worker.workers import Bench, Worker, wait_for

pytestmark = pytest.mark.integration


def test_a_cancel_by_the_broker_is_survived(bench: Bench) -> None:
    """Case 6. The broker cancels a consumer, the channel stays open, and the worker is deaf."""
    worker = bench.started()
    bench.enqueue("lose_first_time", diary=bench.diary)
    bench.wait_lines(1)
    bench.broker.channel.queue_delete(bench.queue)
    worker.wait("job-settled", outcome="void")
    topology.declare_queue(bench.broker.channel, bench.queue)
    worker.wait("consumer-started", count=2)
    bench.enqueue("lose_first_time", diary=bench.diary)
    worker.wait("job-settled", outcome="succeeded")
    assert bench.lines() == ["start 1", "DeliveryLost lost=True", "start 1", "end 1"]


def test_a_consumer_that_the_broker_has_cancelled_leaves_no_zombie(bench: Bench) -> None:
    """Cases 6 and 7. After an ack timeout 4.3 keeps a consumer that swallows jobs; with a single
    active consumer the queue stands still for good.

    We close the channel, and no queue of ours has a single active consumer: two take jobs at once.
    """
    declared = [queue.arguments for queue in topology.queues_of(bench.queue)]
    assert all("x-single-active-consumer" not in arguments for arguments in declared)
    with bench.broker.ack_timeout(bench.queue, seconds=2):
        worker = bench.started(ack_timeout="2s")
        bench.enqueue("lose_first_time", diary=bench.diary)
        worker.wait("job-settled", outcome="succeeded")
    wait_for(lambda: bench.consumers() == 1, why=bench.consumers)
    # A zombie would get every other one of these.
    for number in range(20):
        bench.enqueue("write", diary=bench.diary, text=str(number))
    worker.wait("job-settled", count=21, outcome="succeeded")
    other = bench.started()
    wait_for(lambda: bench.consumers() == 2, why=bench.consumers)
    path = bench.directory / "both"
    for _ in range(2):
        bench.enqueue("wait_for_file", diary=f"{bench.diary}-both", path=str(path))
    wait_for(lambda: _busy(worker) == _busy(other) == 1)
    path.touch()
    worker.wait("job-settled", count=22, outcome="succeeded")
    other.wait("job-settled", outcome="succeeded")


def test_prefetch_is_whole_again_after_each_reconnect(bench: Bench, relay: Relay) -> None:
    """Case 9. Prefetch is lowered for what is running at the loss, and stays low for good."""
    worker = bench.started(slots=4, prefetch=4)
    for losses in range(1, 4):
        path, diary = bench.directory / f"go-{losses}", f"{bench.diary}-{losses}"
        for _ in range(4):
            bench.enqueue("wait_for_file", diary=diary, path=str(path))
        # Begun, and not just handed to a child: what has not begun is not void, but forgotten.
        begun = Path(diary)

        def have_begun(diary: Path = begun) -> bool:
            return diary.exists() and diary.read_text().count("start") >= 4

        wait_for(have_begun)
        relay.cut()
        worker.wait("consumer-started", count=losses + 1)
        # All four are here again, not only those for which a reduced prefetch has room.
        worker.wait("job-settled", count=4 * losses, outcome="void")
        wait_for(lambda: _busy(worker) == 4)
        path.touch()
        worker.wait("job-settled", count=4 * losses, outcome="succeeded")
    assert {event["prefetch"] for event in worker.events("consumer-started")} == {4}


def test_a_worker_needs_no_right_to_declare_anything(bench: Bench) -> None:
    """Case 11. RabbitMQ 4 refuses global prefetch and transient queues, and workers never start."""
    with _user_without_configure(bench) as amqp:
        bench.amqp = amqp
        before = _queues(bench)
        worker = bench.started()
        bench.enqueue("fail", diary=bench.diary)
        assert bench.dead()[0].headers[DEAD_REASON] == "max-attempts"
        assert _queues(bench) == before
        assert not worker.events("connection-failed")
        assert not worker.events("operator-line-lost")
        assert worker.stop() == 0


def test_no_loss_of_connections_stalls_the_worker_or_leaks(bench: Bench, relay: Relay) -> None:
    """Cases 12 and 21. After a reconnect nothing is fetched any more; each one leaves descriptors
    and memory behind."""
    worker = bench.started(slots=2, prefetch=16)
    for number in range(300):
        bench.enqueue("endure", diary=bench.diary, number=number)
    bench.wait_lines(10)
    descriptors, memory = worker.descriptors(), worker.memory()
    for losses in range(1, 6):
        relay.cut()
        worker.wait("consumer-started", count=losses + 1)
        worker.wait("connection-opened", count=2 * losses + 2)
    ended = {f"{number} end" for number in range(300)}
    wait_for(lambda: ended == {line.rsplit(" ", 2)[0] for line in bench.lines()} & ended)
    wait_for(bench.is_empty)
    wait_for(lambda: worker.descriptors() <= descriptors, why=worker.descriptors)
    assert worker.memory() - memory < 8 * 1024 * 1024
    assert worker.stop() == 0
    assert bench.is_empty()


def test_a_hung_broker_is_given_up_and_its_job_runs_again(bench: Bench, relay: Relay) -> None:
    """Case 24. A broker that says nothing and closes nothing: the worker waits for it for ever.

    pika looks every heartbeat + 5 s whether anything has come since it looked last.
    """
    worker = bench.started(heartbeat="1s")
    bench.enqueue("lose_first_time", diary=bench.diary)
    bench.wait_lines(1)
    began = time.monotonic()
    relay.hang()
    worker.wait("consumer-lost", deadline=30)
    assert time.monotonic() - began < 20
    worker.wait("job-settled", outcome="void")
    worker.wait("job-settled", outcome="succeeded", deadline=30)
    assert bench.lines() == ["start 1", "DeliveryLost lost=True", "start 2", "end 2"]
    assert worker.stop() == 0
    assert bench.is_empty()


def test_what_waits_behind_a_job_that_never_ends_is_not_stuck_with_it(bench: Bench) -> None:
    """Case 29. Jobs in a worker's own memory that nobody takes out of it any more."""
    worker = bench.started(slots=1, prefetch=16, hard_limit="2s")
    bench.enqueue("hang", diary=bench.diary)
    for number in range(15):
        bench.enqueue("write", diary=f"{bench.diary}-quick", text=str(number))
    wait_for(lambda: bench.ready() == 0)
    worker.wait("job-settled", count=15, outcome="succeeded", attempt=1)
    assert worker.stop() == 0
    assert bench.is_empty()


@pytest.mark.parametrize(
    ("slots", "prefetch", "left"), [(1, 1, 0), (1, 8, 0), (2, 4, 2), (1, "auto", 0)]
)
def test_new_jobs_do_not_wait_behind_a_void_run(
    bench: Bench, relay: Relay, slots: int, prefetch: int | str, left: int
) -> None:
    """A run that the broker has taken back keeps its slot, and no job may come for that."""
    worker = bench.started(slots=slots, prefetch=prefetch)
    bench.enqueue("ignore_the_loss", diary=bench.diary, seconds=6)
    bench.wait_lines(1)
    relay.cut()
    assert worker.wait("consumer-started", count=2)["prefetch"] == left
    other = bench.started(slots=1, prefetch=1)
    for number in range(6):
        bench.enqueue("write", diary=f"{bench.diary}-quick", text=str(number))
    # The seventh is the second attempt of the one that has lost its delivery.
    wait_for(
        lambda: (
            sum(len(each.events("job-settled", outcome="succeeded")) for each in (worker, other))
            == 7
        ),
        deadline=4,
        why=worker.text,
    )
    worker.wait("job-settled", outcome="void")
    full = slots if prefetch == "auto" else prefetch
    wait_for(lambda: worker.events("consumer-started")[-1]["prefetch"] == full, why=worker.text)
    assert worker.stop() == 0
    assert bench.is_empty()


@pytest.mark.parametrize(
    "arguments",
    [
        {"x-queue-type": "quorum", "x-delivery-limit": 7},
        {"x-queue-type": "classic", "x-max-length": 1000},
    ],
    ids=["quorum", "classic"],
)
def test_a_queue_that_somebody_declares_otherwise_goes_on(
    bench: Bench, arguments: dict[str, object]
) -> None:
    """Case 30. Workers that declare their queue are refused once its arguments differ: 406."""
    channel = bench.broker.channel
    worker = bench.started()
    channel.queue_delete(bench.queue)
    worker.wait("consumer-lost")
    channel.queue_declare(bench.queue, durable=True, arguments=arguments)
    channel.queue_bind(bench.queue, JOBS_EXCHANGE, bench.queue)
    bench.enqueue("write", diary=bench.diary)
    worker.wait("job-settled", outcome="succeeded")
    assert worker.stop() == 0
    assert bench.is_empty()


def _busy(worker: Worker) -> int:
    metrics = worker.get("/metrics")[1]
    return int(float(metrics.partition("\nlongshore_busy_slots ")[2].split()[0]))


def _queues(bench: Bench) -> set[str]:
    with _management(bench) as management:
        found = management.get(f"/api/queues/{bench.broker.vhost}?disable_stats=true")
        return {each["name"] for each in found.raise_for_status().json()}


@contextlib.contextmanager
def _user_without_configure(bench: Bench) -> Iterator[str]:
    """The rights of a worker's user, and not one more."""
    split, vhost, user = urlsplit(bench.broker.amqp), bench.broker.vhost, bench.queue
    rights = {"configure": "^$", "write": "^longshore[.]", "read": f"^{re.escape(user)}$"}
    with _management(bench) as management:
        management.put(f"/api/users/{user}", json={"password": "p", "tags": ""})
        try:
            management.put(f"/api/permissions/{vhost}/{user}", json=rights).raise_for_status()
            host = f"{user}:p@{split.hostname}:{split.port}"
            yield urlunsplit(split._replace(netloc=host))
        finally:
            management.delete(f"/api/users/{user}").raise_for_status()


def _management(bench: Bench) -> httpx.Client:
    split = urlsplit(bench.broker.amqp)
    auth = (split.username or "", split.password or "")
    return httpx.Client(base_url=bench.broker.management, auth=auth, timeout=30)
