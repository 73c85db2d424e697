"""When the faults are over: wait until work is done, then see what is left, and where."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pika

from chaos import history
from chaos.history import History, Left
from chaos.kinds import KINDS, Queue, Way
from chaos.stage import NAMESPACE, VHOST, Stage
from longshore.contract.delays import LEVELS, level_name
from longshore.contract.message import DEAD_REASON
from longshore.contract.names import LOST, dead_queue_name, queue_name

PATIENCE = 180.0
"""Seconds for all jobs to end once nothing disturbs them: as long as a retry, a delay and a slow
start may take one after another. What has not ended then must still be queued."""


def settle(stage: Stage) -> float:
    """Wait until every confirmed job is done or dead, but no longer than `PATIENCE`.

    Returns the seconds that it took.
    """
    since = time.monotonic()
    while time.monotonic() < since + PATIENCE:
        if not _open_jobs(stage) and not _waiting(stage):
            break
        time.sleep(1)
    else:
        print(f"not settled: {len(_open_jobs(stage))} jobs; in queues: {_waiting(stage)}")
        held = sum(each["messages_unacknowledged"] for each in stage.api("GET", "channels"))
        print(f"open channels hold {held} unacked messages")
    return time.monotonic() - since


def left(stage: Stage) -> Iterator[Left]:
    """Every job that is still in RabbitMQ; none is taken out."""
    connection = stage.connect()
    try:
        for name in Queue:
            yield from _messages(connection, stage.queue(name), where="queued")
            dead = dead_queue_name(queue_name(namespace=NAMESPACE, name=name))
            yield from _messages(connection, dead, where="dead")
        for level in range(LEVELS):
            yield from _messages(connection, level_name(level), where="delayed")
        yield from _messages(connection, LOST, where="lost")
    finally:
        connection.close()


def _messages(connection: pika.BlockingConnection, queue: str, *, where: str) -> Iterator[Left]:
    channel = connection.channel()
    try:
        while True:
            _, properties, body = channel.basic_get(queue)
            if properties is None:
                break
            headers: dict[str, Any] = properties.headers or {}
            number = json.loads(body)["number"]
            yield Left(number=number, where=where, reason=headers.get(DEAD_REASON, ""))
        channel.close()  # what was not acked goes back
    except pika.exceptions.ChannelClosedByBroker as error:
        if error.reply_code != 404:
            raise


def _open_jobs(stage: Stage) -> list[int]:
    """Confirmed jobs of which no run has ended well; those that die end in their dead letter."""
    seen = History.of(history.read(stage.folder))
    done = {
        number
        for number, runs in seen.starts.items()
        for run in runs
        if (end := seen.ends.get(run.run)) and end.way == Way.DONE
    }
    return [
        number
        for number, job in seen.enqueued.items()
        if number not in done and not KINDS[job.kind].dies_of
    ]


def _waiting(stage: Stage) -> dict[str, dict[str, Any]]:
    """What RabbitMQ counts in each queue with messages, except for dead letters."""
    counts = ("messages_ready", "messages_unacknowledged", "messages_dlx", "consumers")
    return {
        each["name"]: {count: each[count] for count in counts if each.get(count)}
        for each in stage.api("GET", "queues", VHOST)
        if each.get("messages") and not each["name"].endswith(".dead")
    }
