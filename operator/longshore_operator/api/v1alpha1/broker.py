"""Broker: how to reach one RabbitMQ."""

from pydantic import Field

from longshore.contract.timing import HEARTBEAT
from longshore_operator.api.types import (
    DnsLabel,
    DnsName,
    Duration,
    Resource,
    immutable,
)
from longshore_operator.api.v1alpha1.condition import Conditions


class SecretReference(Resource):
    """A Secret and where it is."""

    name: DnsName = Field(description="Name of the Secret.")
    namespace: DnsLabel = Field(description="Its namespace.")


class BrokerSpec(Resource):
    """How to reach one RabbitMQ."""

    secret_ref: SecretReference = Field(
        description="Secret with the keys `username` and `password` of an administrator; `host` "
        "and `port` too, where the spec leaves them out."
    )
    host: str | None = Field(
        default=None,
        min_length=1,
        max_length=253,
        description="Host name of RabbitMQ, as workers and operator reach it. Default: the "
        "Secret's `host`.",
    )
    port: int | None = Field(
        default=None,
        ge=1,
        le=65_535,
        description="AMQP port. Default: the Secret's `port`, or 5672.",
    )
    management_url: str | None = Field(
        default=None,
        alias="managementURL",
        max_length=512,
        pattern="^https?://[^/]+",
        description="Address of RabbitMQ's management plugin. Default: http://HOST:15672.",
    )
    vhost: str = Field(
        default="longshore",
        min_length=1,
        max_length=127,
        description="Virtual host for all queues; made if it is missing. Its own is best. Cannot "
        "be changed.",
        json_schema_extra=immutable(
            "jobs would stay behind in the old virtual host: make a new Broker"
        ),
    )
    heartbeat: Duration = Field(
        default=HEARTBEAT,
        description="AMQP heartbeat of the workers. Long jobs do not need a longer one.",
    )


class BrokerFeatures(Resource):
    """What this version of RabbitMQ can do, where versions differ."""

    ack_timeout_by_consumer: bool = Field(
        description="Workers set their own ack timeout; before 4.3, a policy does."
    )
    nack_is_free: bool = Field(
        description="A job given back by a worker keeps its delivery count (4.3)."
    )
    strict_priorities: bool = Field(
        description="32 strict priorities; before 4.3, two classes at 2:1."
    )


class BrokerStatus(Resource):
    """What the operator sees."""

    observed_generation: int = Field(default=0, description="Generation of the spec in force.")
    conditions: Conditions = ()
    version: str | None = Field(default=None, max_length=64, description="RabbitMQ's version.")
    features: BrokerFeatures | None = Field(
        default=None, description="What this version can do, where versions differ."
    )
    task_queues: int = Field(default=0, description="TaskQueues on this Broker.")


class Broker(Resource):
    """A RabbitMQ that TaskQueues can use."""

    spec: BrokerSpec = Field(description="How to reach it.")
    status: BrokerStatus | None = Field(default=None, description="What the operator sees.")
