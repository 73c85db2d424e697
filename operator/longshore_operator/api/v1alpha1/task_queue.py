"""TaskQueue: a durable work queue and the workers that empty it."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from longshore.contract.config import Isolation, OnTermination
from longshore.contract.names import MAX_TASK_QUEUE_NAME
from longshore.contract.timing import DRAIN_MARGIN, REQUEUE_GRACE
from longshore_operator.api.types import (
    Bytes,
    DnsName,
    Duration,
    DurationOrZero,
    Prefetch,
    Resource,
    immutable,
    rules,
)
from longshore_operator.api.v1alpha1.condition import Conditions
from longshore_operator.api.v1alpha1.pod_template import (
    ComputeResources,
    EnvVar,
    PodTemplate,
    grace_rule,
    reserved_env_rule,
)
from longshore_operator.api.v1alpha1.queue import DeadLetter, Queue
from longshore_operator.api.v1alpha1.scaling import Scaling, ScalingStatus

LONGEST_JOB = "720h"


class DeletionPolicy(StrEnum):
    """What happens to a TaskQueue's queues in RabbitMQ when it is deleted."""

    RETAIN_IF_NOT_EMPTY = "RetainIfNotEmpty"
    RETAIN = "Retain"
    DELETE = "Delete"


class BrokerReference(Resource):
    """The Broker that holds the queue."""

    name: DnsName = Field(
        default="default",
        description="Name of a Broker. Cannot be changed.",
        json_schema_extra=immutable(
            "jobs would stay behind on the old Broker: create a new TaskQueue and move producers"
        ),
    )


class Retry(Resource):
    """When a failed job is retried: exponential backoff with jitter."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            {
                "rule": "duration(self.initialDelay) <= duration(self.maxDelay)",
                "messageExpression": "'retry.initialDelay (' + self.initialDelay + ') must not "
                "exceed retry.maxDelay (' + self.maxDelay + ')'",
            },
            {
                "rule": "!has(self.maxAge) || duration(self.initialDelay) < duration(self.maxAge)",
                "messageExpression": "'retry.initialDelay (' + self.initialDelay + ') must be "
                "shorter than retry.maxAge (' + self.maxAge + '), otherwise no job is ever "
                "retried; to disable retries, set retry.maxAttempts to 1'",
            },
        )
    )

    max_attempts: int = Field(
        default=5, ge=1, le=100, description="Total number of attempts; 1 disables retries."
    )
    initial_delay: Duration = Field(
        default=10.0, description="Delay between the first failure and the second attempt."
    )
    max_delay: Duration = Field(default=3600.0, description="Longest delay between two attempts.")
    factor: float = Field(
        default=2.0, ge=1, le=100, description="Each delay is this many times the previous one."
    )
    jitter: float = Field(
        default=0.25,
        ge=0,
        le=1,
        description="Largest fraction by which a delay is randomly lengthened or shortened.",
    )
    max_age: Duration | None = Field(
        default=None,
        description="Time since its first enqueue after which a job is no longer run. If its next "
        "attempt would begin later, it becomes a dead letter instead. Unlimited when absent.",
    )
    defer_for: DurationOrZero = Field(
        default=600.0,
        description="How long a job is deferred if this version of the workers cannot run it, "
        "because it has no such handler or the arguments do not fit. Meanwhile, workers of another "
        "version may run it; afterwards, it becomes a dead letter. Should be longer than a rollout "
        "takes; 0s disables deferral.",
    )


class TimeLimit(Resource):
    """How long a job may run. Every other timeout is derived from it; see status.timeouts."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            {
                "rule": "!has(self.soft) || duration(self.soft) < duration(self.hard)",
                "messageExpression": "'timeLimit.soft (' + self.soft + ') must be shorter than "
                "timeLimit.hard (' + self.hard + ')'",
            },
            {
                "rule": f"duration(self.hard) <= duration('{LONGEST_JOB}')",
                "messageExpression": "'timeLimit.hard (' + self.hard + ') must not exceed "
                f"{LONGEST_JOB}'",
            },
            {
                "rule": "duration(self.killGrace) <= duration('1h')",
                "messageExpression": "'timeLimit.killGrace (' + self.killGrace + ') must not "
                "exceed 1h'",
            },
        )
    )

    hard: Duration = Field(
        description="A job that runs longer is killed, with all its processes, and retried."
    )
    soft: Duration | None = Field(
        default=None,
        description="After this run time, SoftTimeLimit is raised in the handler, so that it can "
        "end by itself.",
    )
    kill_grace: Duration = Field(
        default=5.0, description="Time between SIGTERM and SIGKILL when a job is killed."
    )


class Worker(Resource):
    """The workers: what they run, and in which pods."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            {
                "rule": "self.isolation == 'Exec' || has(self.handlers)",
                "message": "worker.handlers is missing; it lists the Python modules that register "
                "handlers, and is required unless worker.isolation is Exec",
            },
            {
                "rule": "self.isolation != 'Exec' || !has(self.handlers)",
                "message": "worker.handlers has no effect with worker.isolation Exec, where "
                "worker.command runs every job; remove worker.handlers",
            },
            {
                "rule": "self.isolation != 'Exec' || has(self.command)",
                "message": "worker.command is missing; with worker.isolation Exec, it is the "
                "program that runs each job, with its arguments",
            },
            {
                "rule": "self.isolation == 'Exec' || !has(self.command)",
                "message": "worker.command has no effect unless worker.isolation is Exec; set "
                "worker.isolation to Exec, or remove worker.command",
            },
            {
                "rule": "type(self.prefetch) != int || self.prefetch >= self.slots",
                "message": "worker.prefetch must not be less than worker.slots: some slots would "
                "never get a job",
            },
            reserved_env_rule("self.env"),
        )
    )

    image: str = Field(
        min_length=1,
        max_length=512,
        description="Container image with the handlers and the `longshore` package.",
    )
    handlers: list[
        Annotated[
            str,
            Field(max_length=253, pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$"),
        ]
    ] = Field(
        default=[],
        min_length=1,
        max_length=64,
        description="Python modules that register handlers, e.g. `media.jobs`. Required unless "
        "`isolation` is `Exec`.",
    )
    isolation: Isolation = Field(
        default=Isolation.WARM,
        description="What one job shares with the next. `Warm`: the process, which runs one job "
        "after another. `Fork`: only the imported modules; each job gets a fresh process. `Exec`: "
        "nothing; each job is one run of `command`.",
    )
    command: list[Annotated[str, Field(min_length=1, max_length=4096)]] = Field(
        default=[],
        min_length=1,
        max_length=64,
        description="With `isolation: Exec`: the program that runs each job, in any language, and "
        "its arguments. It reads the job as JSON from its standard input. Exit code 0 means "
        "success, 75 requests another attempt, and any other is a failure.",
    )
    middleware: list[
        Annotated[
            str, Field(max_length=64, pattern=r"^[A-Za-z0-9_]([-._A-Za-z0-9]*[A-Za-z0-9_])?$")
        ]
    ] = Field(
        default=[],
        max_length=16,
        description="Middleware that runs around every job, the outermost first. Each is the name "
        "of an entry point in the group `longshore.middleware` of a package in the image, e.g. "
        "`sentry` or `opentelemetry`.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    slots: int = Field(
        default=1, ge=1, le=256, description="Jobs that one worker runs at the same time."
    )
    prefetch: Prefetch = Field(
        default="auto",
        description="Number of jobs that one worker holds, running or waiting in it. `auto`: one "
        "for each slot, and more while jobs are short. A fixed number above `slots` lengthens the "
        "ack timeout, because a job may have to wait for those before it.",
    )
    max_jobs_per_child: int = Field(
        default=0,
        ge=0,
        le=1_000_000_000,
        description="With `isolation: Warm`: number of jobs after which the process that runs "
        "them is replaced; 0 means never.",
    )
    max_memory_per_child: Bytes | None = Field(
        default=None,
        description="With `isolation: Warm`: the process that runs jobs is replaced if it has more "
        "resident memory than this after a job, e.g. 400Mi. No job is interrupted, and no attempt "
        "is charged. Only useful below memoryLimitPerJob.",
    )
    memory_limit_per_job: Bytes | None = Field(
        default=None,
        description="Resident memory that all processes of one job may use together, e.g. 512Mi. "
        "A job that uses more is killed; the worker's other jobs are not affected.",
    )
    resources: ComputeResources | None = Field(
        default=None, description="Compute resources of one worker."
    )
    env: list[EnvVar] = Field(
        default=[],
        max_length=128,
        description="Environment variables of the worker and its handlers.",
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
        },
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        default=None, description="When the image is pulled. Default: that of Kubernetes."
    )
    pod_template: PodTemplate | None = Field(
        default=None,
        description="Merged over the pod template that Longshore generates, e.g. to add volumes, "
        "tolerations or a sidecar. Lists of named items are merged by name; the worker's container "
        "is named `worker`. Fields on which a guarantee of Longshore rests, such as the command "
        "and the probes of this container, cannot be changed.",
    )


class TaskQueueSpec(Resource):
    """The desired state of a TaskQueue."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            {
                "rule": "self.queue.deliveryLimit >= self.retry.maxAttempts",
                "message": "queue.deliveryLimit must not be below retry.maxAttempts: RabbitMQ "
                "would give up on jobs before the workers do",
            },
            grace_rule(requeue=REQUEUE_GRACE, margin=DRAIN_MARGIN),
        )
    )

    broker: BrokerReference = Field(
        default=BrokerReference(), description="The Broker that holds the queue."
    )
    queue: Queue = Field(default=Queue(), description="The job queue in RabbitMQ.")
    dead_letter: DeadLetter = Field(
        default=DeadLetter(), description="The queue of jobs that failed for good."
    )
    retry: Retry = Field(default=Retry(), description="When a failed job is retried.")
    time_limit: TimeLimit = Field(
        description="How long a job may run. Every other timeout is derived from it."
    )
    worker: Worker = Field(description="The workers: what they run, and in which pods.")
    scaling: Scaling = Field(default=Scaling(), description="How many workers there are.")
    on_termination: OnTermination = Field(
        default=OnTermination.FINISH,
        description="What a worker does with running jobs when its pod is terminated. `Finish`: it "
        "lets them finish, within their time limit. `Requeue`: it interrupts them and returns them "
        "to the queue.",
    )
    deletion_policy: DeletionPolicy = Field(
        default=DeletionPolicy.RETAIN_IF_NOT_EMPTY,
        description="What happens to the queues in RabbitMQ when the TaskQueue is deleted. "
        "`RetainIfNotEmpty`: each queue is deleted if it holds no job, except one that was taken "
        "over by `queue.name`, which stays. `Retain`: both queues stay. `Delete`: both are deleted "
        "with all their jobs, even a queue that was taken over.",
    )


class DerivedTimeouts(Resource):
    """Every timeout that follows from spec.timeLimit."""

    soft_limit: DurationOrZero | None = Field(
        default=None, description="When SoftTimeLimit is raised in the handler."
    )
    hard_limit: DurationOrZero = Field(description="When the worker kills the job.")
    gone: DurationOrZero = Field(description="When all processes of the job have ended.")
    ack_timeout: DurationOrZero = Field(description="When RabbitMQ requeues an unacked job.")
    prefetch: int = Field(
        description="Number of jobs that one worker holds at a time; with `worker.prefetch: auto`, "
        "it holds more while jobs are short."
    )
    termination_grace: DurationOrZero = Field(
        description="Time that Kubernetes gives a worker's pod to end."
    )


class Jobs(Resource):
    """Numbers of jobs. An absent number is unknown, which does not mean 0."""

    ready: int | None = Field(default=None, description="Jobs that wait in the queue.")
    running: int | None = Field(default=None, description="Jobs that workers hold.")
    dead: int | None = Field(default=None, description="Dead letters that are kept.")
    succeeded: int = Field(
        default=0, description="Jobs done since the TaskQueue was created; approximate."
    )
    failed: int = Field(
        default=0, description="Attempts that failed and were scheduled again; approximate."
    )


class Workers(Resource):
    """Numbers of workers."""

    current: int | None = Field(default=None, description="Replicas requested in the Deployment.")
    ready: int | None = Field(default=None, description="Workers that are connected to RabbitMQ.")


class Priorities(StrEnum):
    """How RabbitMQ orders jobs of different priority."""

    STRICT = "Strict"
    TWO_CLASSES = "TwoClasses"


class TaskQueueStatus(Resource):
    """The observed state of a TaskQueue."""

    observed_generation: int = Field(default=0, description="Generation of the spec in force.")
    conditions: Conditions = ()
    queue: str | None = Field(
        default=None, max_length=255, description="The job queue's name in RabbitMQ."
    )
    dead_queue: str | None = Field(
        default=None, max_length=255, description="The dead-letter queue's name in RabbitMQ."
    )
    priorities: Priorities | None = Field(
        default=None,
        description="How RabbitMQ orders jobs. `Strict`: by all priorities from 0 to 31; this "
        "needs RabbitMQ 4.3 or newer. `TwoClasses`: two jobs of a priority above 4 are delivered "
        "for each job of a lower priority.",
    )
    timeouts: DerivedTimeouts | None = Field(
        default=None, description="Every timeout that follows from spec.timeLimit."
    )
    jobs: Jobs | None = Field(default=None, description="Numbers of jobs.")
    workers: Workers | None = Field(default=None, description="Numbers of workers.")
    scaling: ScalingStatus | None = Field(
        default=None, description="What the scaler decided, and why."
    )


class TaskQueue(Resource):
    """A durable work queue and the workers that empty it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            {
                "rule": f"self.metadata.name.size() <= {MAX_TASK_QUEUE_NAME} && "
                "self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
                "message": "metadata.name must be a DNS label of at most "
                f"{MAX_TASK_QUEUE_NAME} characters: lower-case letters, digits and -, no dot",
            }
        )
    )

    spec: TaskQueueSpec = Field(description="The desired state.")
    status: TaskQueueStatus | None = Field(default=None, description="The observed state.")
