"""What the operator remembers of a TaskQueue. It may forget all of it at any time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf

from longshore.contract.timing import Timeouts
from longshore_operator.api.v1alpha1 import Condition
from longshore_operator.app.reconciling.users import Remembered
from longshore_operator.app.sessions.session import Session
from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.app.watched.world import Key
from longshore_operator.core.kubernetes.obstacles import Since
from longshore_operator.core.kubernetes.refusals import Refusals
from longshore_operator.core.kubernetes.rollout import Rollout
from longshore_operator.core.rabbitmq.blockage import queue_trouble
from longshore_operator.core.rabbitmq.topology import Topology
from longshore_operator.core.scaling import Decision, Memory
from longshore_operator.core.trouble import Trouble
from longshore_operator.core.workers.cordons import Cordons
from longshore_operator.core.workers.history import History
from longshore_operator.core.workers.missing import MissingPods
from longshore_operator.core.workers.recent import Recent
from longshore_operator.core.workers.tally import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was set, and the generation that this gave the Deployment."""

    replicas: int
    rollout: Rollout
    generation: int
    uid: str
    """Of the Deployment: one that is made anew counts its generations from 1."""


@dataclass(slots=True, kw_only=True)
class Record:
    """One TaskQueue: the reconciler's part, then the scaler's."""

    uid: str
    tally: Tally
    generation: int = 0
    """Generation of the spec that was last brought to RabbitMQ and Kubernetes, or tried to be."""

    session: Session | None = None
    """Where it was declared."""

    wanted: Topology | None = None
    timeouts: Timeouts | None = None
    topology: Trouble | None = None
    workload: Trouble | None = None
    policy: Trouble | None = None
    """A policy of somebody else's that is in force instead of ours."""

    shortcomings: tuple[str, ...] | None = None
    """What cannot be promised on a queue that was taken over; None for a queue of its own."""

    rotation: str = ""
    """The rotation of credentials that was last carried out, or tried to be."""

    users: Remembered = field(default_factory=Remembered)
    """Its users' credentials."""

    secrets_due: float | None = None
    """When its Secrets are to be looked at again."""

    deployed: str | None = None
    """What its Deployment said when it was as it should be (`core.workload.standing`)."""

    budgeted: str | None = None
    """The same of its PodDisruptionBudget."""

    repairs: int = 0
    """Times that one of the two had been changed by others, in a row."""

    repaired_at: float = -inf

    missed: dict[str, None] = field(default_factory=dict)
    """What RabbitMQ lacked, in words, in this attempt and in those that failed before it."""

    is_busy: bool = False
    is_doubted: bool = False
    """Something is not as it was written; reconcile again."""

    is_protected: bool = False
    """Whether its workers have a PodDisruptionBudget."""

    failures: int = 0
    next_try: float = 0.0
    reconciled_at: float = 0.0

    stuck_since: float | None = None
    """When its deletion met the trouble first that it still has."""

    stuck_at: float = -inf
    """When it met it last."""

    unanswered_since: float | None = None
    """Since when its queue has not answered."""

    blockage: Trouble | None = None
    """Why its queue takes no jobs although it is declared."""

    is_acting: bool = False
    """What was decided is being carried out; until that has ended nothing new is."""

    memory: Memory | None = None
    recent: Recent = field(default_factory=lambda: Recent(since=0))
    history: History = field(default_factory=History)
    cordons: Cordons = field(default_factory=Cordons)
    leaving: dict[str, float] = field(default_factory=dict)
    """Workers that Kubernetes was asked to end, and when; those that do not end yet."""

    asked: Asked | None = None
    refusals: Refusals = field(default_factory=Refusals)
    missing: MissingPods | None = None
    """Replicas that have no pod."""

    since: Since = field(default_factory=Since)
    words: Mapping[str, Trouble] = field(default_factory=dict)
    """What is said of pods that are not ready, by uid."""

    is_asking: bool = False
    obstacle: Trouble | None = None
    """Why workers are missing, beyond what their pods say."""

    retried_at: float = -inf
    """When Kubernetes was last asked to make missing pods at once."""

    silent: tuple[str, ...] = ()
    """Ready workers that have said nothing for a while."""

    decision: Decision | None = None
    written: object = None
    """What the status was made of when it last needed no patch."""

    conditions: tuple[Condition, ...] = ()
    """Those that were last written; none before this operator has written any."""

    told: dict[tuple[str, str], float] = field(default_factory=dict)
    """When a reason of a condition was last an Event."""

    quiet_until: float = -inf
    """When numbers alone may be written again."""

    ready: int | None = None
    dead: int | None = None

    def is_of(self, task_queue: TaskQueueObject) -> bool:
        """Whether nothing was asked for since."""
        return (self.generation, self.rotation) == (task_queue.generation, task_queue.rotation)

    def is_reconciled(self, *, generation: int, session: Session) -> bool:
        """Whether this generation was brought to this session, or at least tried to be."""
        return self.generation == generation and self.session is session

    def is_declared(self) -> bool:
        """Whether its queues stand, for this generation of the spec or the one before."""
        return self.wanted is not None

    def note_answer(self, queue: str, *, is_silent: bool, has_quorum: bool, now: float) -> None:
        """Whether its queue has told how many jobs wait; if not, for how long it has not, and
        what that means."""
        if not is_silent:
            self.unanswered_since = self.blockage = None
            return
        if self.unanswered_since is None:
            self.unanswered_since = now
        silent_for = now - self.unanswered_since
        self.blockage = queue_trouble(queue, has_quorum=has_quorum, silent_for=silent_for)


@dataclass(slots=True)
class Records:
    """Records of all TaskQueues. `now` gives ms since the epoch."""

    now: Callable[[], int]
    _records: dict[Key, Record] = field(default_factory=dict)

    def of(self, key: Key, task_queue: TaskQueueObject) -> Record:
        """The record of this TaskQueue; a new one when one of the same name was there before."""
        record = self._records.get(key)
        if record is None or record.uid != task_queue.owner.uid:
            status = task_queue.status.jobs
            tally = Tally(
                since=self.now(),
                succeeded=status.succeeded if status else 0,
                failed=status.failed if status else 0,
            )
            record = Record(
                uid=task_queue.owner.uid,
                tally=tally,
                recent=Recent(since=tally.since),
                dead=status.dead if status else None,
            )
            self._records[key] = record
        return record

    def known(self, key: Key) -> Record | None:
        """The record of a TaskQueue by its name alone, if there is one."""
        return self._records.get(key)

    def keep_only(self, keys: set[Key]) -> None:
        """Forget all others."""
        for key in self._records.keys() - keys:
            del self._records[key]
