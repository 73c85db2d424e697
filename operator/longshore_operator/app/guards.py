"""What goes wrong with one TaskQueue or Broker ends nothing else; the next tick is the retry."""

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
    """A bug that one TaskQueue, its workers or a plug-in bring to light must not end all."""
    try:
        yield
    except Exception:
        log.exception("tick-crashed", task_queue=".".join(key))


@contextmanager
def told(key: Key) -> Iterator[None]:
    """A call that Kubernetes refused or did not answer is logged, and what follows is done."""
    try:
        yield
    except OperatorError as error:
        log.warning("tick-failed", task_queue=".".join(key), error=str(error))


async def read_depths(
    depths: Depths, queues: Iterable[str], **how: int
) -> Mapping[str, Depth | Missing]:
    """How full `queues` are. After an answer that nobody foresaw nothing is known."""
    try:
        return await depths.read(queues, **how)
    except Exception:
        log.exception("depths-crashed")
        return {}
