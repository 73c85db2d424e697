"""Jobs as each contender's own client sends them, multiplied.

The client sends one job; the harness takes it from the queue and publishes copies of it that differ
in the id alone. So no wire format is written down here, and nobody is measured on a job that is not
its own.
"""

import json
import time
from dataclasses import dataclass
from typing import Any

from pika import BasicProperties

from benchmarks.worker.broker import Vhost
from benchmarks.worker.errors import BenchmarkError

PAYLOAD = "x" * 126
"""The one argument of every job: `{"payload": …}` is 140 bytes of JSON."""

FILL_DEADLINE = 120.0
_ID_TAIL = 12
_PATIENCE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One job as its client sent it."""

    id: str
    body: bytes
    properties: dict[str, Any]

    def copy(self, number: int) -> tuple[bytes, BasicProperties]:
        """The same job with an id of its own, of the same form."""
        # The end of every id in use here (UUID, plain or with hyphens) is twelve hex digits.
        new = f"{self.id[:-_ID_TAIL]}{number:0{_ID_TAIL}x}"
        body = self.body.replace(self.id.encode(), new.encode())
        return body, BasicProperties(**_renamed(self.properties, old=self.id, new=new))


def take_sample(vhost: Vhost, queue: str) -> Sample:
    """The one job that stands in `queue`. Raises BenchmarkError when there is none."""
    method, properties, body = vhost.channel.basic_get(queue, auto_ack=True)
    if method is None:
        raise BenchmarkError(f"the client has put no job into {queue!r}")
    if properties.delivery_mode != 2:
        raise BenchmarkError(f"the job in {queue!r} is not persistent")
    fields = {name: value for name, value in vars(properties).items() if value is not None}
    return Sample(id=_id_of(properties, body), body=body, properties=fields)


def fill(vhost: Vhost, queue: str, *, sample: Sample, jobs: int) -> None:
    """Publish `jobs` copies and wait until all are in the queue."""
    for number in range(jobs):
        body, properties = sample.copy(number)
        vhost.channel.basic_publish("", queue, body, properties)
    deadline = time.monotonic() + FILL_DEADLINE
    while (ready := vhost.depth(queue).ready) < jobs:
        if time.monotonic() > deadline:
            raise BenchmarkError(f"{queue!r} holds {ready} of {jobs} jobs after {FILL_DEADLINE} s")
        time.sleep(_PATIENCE)


def _id_of(properties: BasicProperties, body: bytes) -> str:
    # Where each keeps it: Celery, Taskiq, Longshore and aio-pika, Dramatiq.
    found = (
        properties.correlation_id
        or (properties.headers or {}).get("task_id")
        or properties.message_id
        or json.loads(body)["message_id"]
    )
    return str(found)


def _renamed(value: Any, *, old: str, new: str) -> Any:
    if isinstance(value, str):
        return value.replace(old, new)
    if isinstance(value, dict):
        return {name: _renamed(each, old=old, new=new) for name, each in value.items()}
    return value
