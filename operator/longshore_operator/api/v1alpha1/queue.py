"""The queues of a TaskQueue in RabbitMQ: jobs and dead letters."""

from enum import StrEnum

from pydantic import ConfigDict, Field

from longshore.contract.config import QueueType
from longshore_operator.api.types import Duration, Resource, immutable, rules


class Overflow(StrEnum):
    """What gives way when a queue is full."""

    REJECT_PUBLISH = "RejectPublish"
    DROP_HEAD = "DropHead"


class Queue(Resource):
    """The job queue in RabbitMQ."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            {
                "rule": "has(self.name) == has(oldSelf.name) && "
                "(!has(self.name) || self.name == oldSelf.name)",
                "message": "queue.name cannot be changed: jobs would stay behind in the old queue; "
                "make a new TaskQueue for the other queue and delete this one",
            },
            {
                "rule": "self.type != 'Classic' || has(self.name)",
                "message": "queue.type Classic is for a queue that is there already: name it in "
                "queue.name, or leave the type out",
            },
            {
                "rule": "!has(self.overflow) || self.overflow != 'DropHead' || has(self.maxLength)",
                "message": "queue.overflow DropHead needs queue.maxLength: without it the queue is "
                "never full",
            },
        )
    )

    name: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        pattern="^[!-~]([ -~]*[!-~])?$",
        description="A queue that is there already, taken over as it is, e.g. one that another "
        "library declared. Default: a queue NAMESPACE.NAME of Longshore's own. Cannot be changed.",
    )
    type: QueueType = Field(
        default=QueueType.QUORUM,
        description="`Quorum`, or for a queue taken over also `Classic`. Cannot be changed.",
        json_schema_extra=immutable(
            "RabbitMQ cannot turn a queue into one of another type: make a new TaskQueue and move "
            "producers, then delete this one once it is empty"
        ),
    )
    max_length: int | None = Field(
        default=None,
        ge=1,
        le=100_000_000,
        description="Most jobs that wait in the queue; `overflow` says what happens then. "
        "Unlimited when absent.",
    )
    overflow: Overflow = Field(
        default=Overflow.REJECT_PUBLISH,
        description="`RejectPublish`: a full queue refuses jobs, and their producer hears of it. "
        "`DropHead`: the oldest jobs become dead letters, which RabbitMQ does not promise to keep.",
    )
    max_age: Duration | None = Field(
        default=None,
        description="Longest time that a job waits to be started; after it, it becomes a dead "
        "letter. Unlimited when absent.",
    )
    delivery_limit: int = Field(
        default=100,
        ge=1,
        le=1_000_000,
        description="Times that RabbitMQ returns a job to the queue before it makes it a dead "
        "letter by itself. A backstop: workers count attempts, lost ones too.",
    )


class DeadLetter(Resource):
    """The queue of dead letters: jobs that failed for good, with the reason in their headers."""

    retention: Duration = Field(
        default=604_800.0, description="How long a dead letter is kept, at most."
    )
    max_length: int | None = Field(
        default=None,
        ge=1,
        le=100_000_000,
        description="Most dead letters that are kept; the oldest give way. Unlimited when absent.",
    )
