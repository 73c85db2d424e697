"""What goes wrong with one TaskQueue or Broker ends nothing else; the next tick is the retry."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from longshore_operator.app.ports.rabbitmq import Depths
from longshore_operator.app.watched.world import Key
from longshore_operator.core.rabbitmq.depth import Depth, Missing
from longshore_operator.errors import OperatorError

logger = logging.getLogger(__name__)


@contextmanager
def apart(key: Key) -> Iterator[None]:
    """A bug that one TaskQueue, its workers or a plug-in bring to light must not end all."""
    try:
        yield
    except Exception:
        logger.exception("tick_crashed", extra={"task_queue": f"{key[0]}/{key[1]}"})


@contextmanager
def told(key: Key) -> Iterator[None]:
    """A call that Kubernetes refused or did not answer is logged, and what follows is done."""
    try:
        yield
    except OperatorError as error:
        logger.warning("tick_failed", extra={"task_queue": f"{key[0]}/{key[1]}", "why": str(error)})


async def read_depths(
    depths: Depths, queues: Iterable[str], **how: int
) -> Mapping[str, Depth | Missing]:
    """How full `queues` are. After an answer that nobody foresaw nothing is known."""
    try:
        return await depths.read(queues, **how)
    except Exception:
        logger.exception("depths_crashed")
        return {}
