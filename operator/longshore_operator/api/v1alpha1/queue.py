"""The queues of a TaskQueue in RabbitMQ: jobs and dead letters."""

from enum import StrEnum

from pydantic import ConfigDict, Field

from longshore.contract.config import QueueType
from longshore_operator.api.types import Duration, Resource, immutable, rules


class Overflow(StrEnum):
    """What happens when a queue is full."""

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
                "create a new TaskQueue for the other queue and delete this one",
            },
            {
                "rule": "self.type != 'Classic' || has(self.name)",
                "message": "queue.type Classic is only for an existing queue: set queue.name to "
                "its name, or remove queue.type",
            },
            {
                "rule": "!has(self.overflow) || self.overflow != 'DropHead' || has(self.maxLength)",
                "message": "queue.overflow DropHead needs queue.maxLength: without it, the queue "
                "is never full",
            },
        )
    )

    name: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        pattern="^[!-~]([ -~]*[!-~])?$",
        description="Name of an existing queue to take over as it is, e.g. one that another "
        "library declared. Default: NAMESPACE.NAME, a queue that Longshore declares. Cannot be "
        "changed.",
    )
    type: QueueType = Field(
        default=QueueType.QUORUM,
        description="`Quorum`; a queue that is taken over may also be `Classic`. Cannot be "
        "changed.",
        json_schema_extra=immutable(
            "RabbitMQ cannot change the type of a queue: create a new TaskQueue, move the "
            "producers, and delete this one once it is empty"
        ),
    )
    max_length: int | None = Field(
        default=None,
        ge=1,
        le=100_000_000,
        description="Maximum number of jobs that wait in the queue; `overflow` defines what "
        "happens when it is reached. Unlimited when absent.",
    )
    overflow: Overflow = Field(
        default=Overflow.REJECT_PUBLISH,
        description="`RejectPublish`: a full queue refuses new jobs, and their producer gets an "
        "error. `DropHead`: the oldest jobs become dead letters, but RabbitMQ may lose some of "
        "them on the way.",
    )
    max_age: Duration | None = Field(
        default=None,
        description="Maximum time that a job waits to be started; a job that waits longer becomes "
        "a dead letter. Unlimited when absent.",
    )
    delivery_limit: int = Field(
        default=100,
        ge=1,
        le=1_000_000,
        description="How often RabbitMQ returns a job to the queue before RabbitMQ itself makes it "
        "a dead letter. This is only a backstop, because workers count attempts, including lost "
        "ones.",
    )


class DeadLetter(Resource):
    """The queue of dead letters: jobs that failed for good, with the reason in their headers."""

    retention: Duration = Field(
        default=604_800.0, description="Maximum time that a dead letter is kept."
    )
    max_length: int | None = Field(
        default=None,
        ge=1,
        le=100_000_000,
        description="Maximum number of dead letters that are kept; the oldest are dropped first. "
        "Unlimited when absent.",
    )
