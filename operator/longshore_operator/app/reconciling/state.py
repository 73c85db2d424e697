"""What the reconciling loop remembers of a TaskQueue."""

from dataclasses import dataclass, field
from math import inf

from longshore.contract.timing import Timeouts
from longshore_operator.app.reconciling.users import Remembered
from longshore_operator.app.sessions.session import Session
from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.core.rabbitmq.topology import Topology
from longshore_operator.trouble import Trouble


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What the other loops may know of a TaskQueue."""

    generation: int = 0
    """Generation of the spec that was last written to RabbitMQ and Kubernetes, or attempted."""

    session: Session | None = None
    """The session of that attempt."""

    is_declared: bool = False
    """Whether its queues exist, for this generation of the spec or an earlier one."""

    at: float = 0.0
    """When the attempt ended, in seconds of a monotonic clock."""

    timeouts: Timeouts | None = None
    queue_trouble: Trouble | None = None
    """Why its queues could not be declared, or its users not created."""

    worker_trouble: Trouble | None = None
    """Why its workers could not be made to match its spec."""

    policy_trouble: Trouble | None = None
    """A foreign policy that is in force instead of Longshore's."""

    shortcomings: tuple[str, ...] | None = None
    """What is not guaranteed on a queue that was taken over; None for a queue of its own."""

    def is_of(self, *, generation: int, session: Session) -> bool:
        """Return whether the last attempt was for this generation and this session."""
        return self.generation == generation and self.session is session


@dataclass(slots=True, kw_only=True)
class Reconciliation:
    """The state of one TaskQueue, written by the reconciling loop alone."""

    generation: int = 0
    session: Session | None = None
    wanted: Topology | None = None
    """What was declared."""

    timeouts: Timeouts | None = None
    queue_trouble: Trouble | None = None
    worker_trouble: Trouble | None = None
    policy_trouble: Trouble | None = None
    shortcomings: tuple[str, ...] | None = None
    rotation: str = ""
    """The rotation of credentials that was last carried out or attempted."""

    users: Remembered = field(default_factory=Remembered)
    """Its users' credentials."""

    secrets_due: float | None = None
    """When its Secrets are due for another look."""

    placed: dict[str, str] = field(default_factory=dict)
    """Digests of its workload's objects, by name, from when they were as they should be."""

    repairs: int = 0
    """How many times in a row others had changed one of these objects."""

    repaired_at: float = -inf
    missed: dict[str, None] = field(default_factory=dict)
    """Objects missing in RabbitMQ, in words, in this attempt and in failed ones before it."""

    is_busy: bool = False
    is_doubted: bool = False
    """Whether something differs from what was written, so that it is reconciled again."""

    is_protected: bool = False
    """Whether the number of its workers that others may evict at a time is limited."""

    failures: int = 0
    next_try: float = 0.0
    at: float = 0.0

    def is_of(self, task_queue: TaskQueueObject) -> bool:
        """Return whether the last attempt was for the current generation and rotation."""
        return (self.generation, self.rotation) == (task_queue.generation, task_queue.rotation)

    @property
    def seen(self) -> Reconciled:
        """What the other loops may know of the TaskQueue now."""
        return Reconciled(
            generation=self.generation,
            session=self.session,
            is_declared=self.wanted is not None,
            at=self.at,
            timeouts=self.timeouts,
            queue_trouble=self.queue_trouble,
            worker_trouble=self.worker_trouble,
            policy_trouble=self.policy_trouble,
            shortcomings=self.shortcomings,
        )
