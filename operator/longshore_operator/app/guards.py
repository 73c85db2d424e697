"""Isolates failures: trouble with one TaskQueue or Broker ends nothing else. Each tick retries."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from longshore.logs import Log
from longshore_operator.app.ports.rabbitmq import Depths
from longshore_operator.app.watched.world import Key
from longshore_operator.core.rabbitmq.depth import Depth, Missing
from longshore_operator.errors import OperatorError

log = Log(__name__)


@contextmanager
def isolated(key: Key) -> Iterator[None]:
    """Log any exception, so that a bug with one TaskQueue or plug-in does not end the others."""
    try:
        yield
    except Exception:
        log.exception("tick-crashed", task_queue=".".join(key))


@contextmanager
def told(key: Key) -> Iterator[None]:
    """Log a call that Kubernetes refused or did not answer, and go on."""
    try:
        yield
    except OperatorError as error:
        log.warning("tick-failed", task_queue=".".join(key), error=str(error))


async def read_depths(
    depths: Depths, queues: Iterable[str], **how: int
) -> Mapping[str, Depth | Missing]:
    """Read the depths of `queues`. After an unforeseen error, all of them are unknown."""
    try:
        return await depths.read(queues, **how)
    except Exception:
        log.exception("depths-crashed")
        return {}
