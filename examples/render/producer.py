"""Enqueue pictures to render, and some jobs that must fail; print one JSON line for each job."""

from __future__ import annotations

import argparse
import json
import os
import time
import uuid
from collections.abc import Iterator

import pika
from render import jobs

from longshore import Client

TILES = 70


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--renders", type=int, default=200)
    parser.add_argument("--panorama-seconds", type=float, default=35.0)
    options = parser.parse_args()
    queue, url = os.environ["LONGSHORE_QUEUE"], os.environ["LONGSHORE_AMQP_URL"]
    note("plain-amqp", publish_plainly(queue, url))
    with Client(url) as client:
        for kind, job_id in enqueue(
            client, queue, renders=options.renders, panorama_seconds=options.panorama_seconds
        ):
            note(kind, job_id)


def note(kind: str, job_id: str) -> None:
    line = {"id": job_id, "kind": kind, "enqueued_ms": int(time.time() * 1000)}
    print(json.dumps(line), flush=True)


def enqueue(
    client: Client, queue: str, *, renders: int, panorama_seconds: float
) -> Iterator[tuple[str, str]]:
    """Yield the kind and id of each job when RabbitMQ has confirmed it."""
    yield (
        "panorama",
        client.enqueue(queue, jobs.panorama, tiles=TILES, seconds=panorama_seconds),
    )
    yield "endless", client.enqueue(queue, jobs.endless)
    yield "crash", client.enqueue(queue, jobs.crash)
    # With the function instead of its name, Client itself would refuse these arguments.
    yield "invalid", client.enqueue(queue, "render", scene="fractal", width="wide")
    for seed in range(renders):
        scene = "poster" if seed % 3 == 0 else "fractal"
        yield "render", client.enqueue(queue, jobs.render, scene=scene, seed=seed)


def publish_plainly(queue: str, url: str) -> str:
    """Publish a job as any AMQP client in any language can: see docs/wire-format.md."""
    job_id = str(uuid.uuid4())
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish(
            exchange="longshore.jobs",
            routing_key=queue,
            body=json.dumps({"scene": "poster", "seed": 4711}).encode(),
            properties=pika.BasicProperties(
                type="render",
                content_type="application/json",
                message_id=job_id,
                delivery_mode=2,
            ),
            mandatory=True,
        )
    return job_id


if __name__ == "__main__":
    main()
