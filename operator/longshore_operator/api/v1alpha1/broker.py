"""Broker: how to reach one RabbitMQ."""

from typing import Annotated, Literal

from pydantic import Field

from longshore.contract.timing import HEARTBEAT
from longshore_operator.api.types import (
    DnsLabel,
    DnsName,
    Duration,
    Resource,
    immutable,
    rules,
)
from longshore_operator.api.v1alpha1.condition import Conditions


class SecretReference(Resource):
    """A Secret and where it is."""

    name: DnsName = Field(description="Name of the Secret.")
    namespace: DnsLabel = Field(description="Its namespace.")


class AuthorityReference(SecretReference):
    """A certificate authority in a Secret."""

    key: str = Field(
        default="ca.crt",
        min_length=1,
        max_length=253,
        description="Key of the Secret with the authority's certificates, in PEM form.",
    )


class Tls(Resource):
    """TLS on the way to RabbitMQ, for operator, workers and producers."""

    ca_secret_ref: AuthorityReference | None = Field(
        default=None,
        description="Secret with the certificate authority that signed RabbitMQ's certificate. "
        "Default: key `ca.crt` of the Broker's own Secret; without one, the authorities that the "
        "system trusts.",
    )


class LabelRequirement(Resource):
    """One condition on labels, as in a Kubernetes label selector."""

    key: str = Field(min_length=1, max_length=317, description="Name of the label.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(
        description="How the label is compared."
    )
    values: list[Annotated[str, Field(max_length=63)]] = Field(
        default=[], max_length=64, description="Values for `In` and `NotIn`."
    )


class LabelSelector(Resource):
    """Labels to be met, all of them, as a Kubernetes label selector; an empty one is met by all."""

    match_labels: dict[str, Annotated[str, Field(max_length=63)]] = Field(
        default={}, max_length=64, description="Labels with their values."
    )
    match_expressions: list[LabelRequirement] = Field(
        default=[], max_length=64, description="Conditions on labels."
    )


class BrokerSpec(Resource):
    """How to reach one RabbitMQ."""

    secret_ref: SecretReference = Field(
        description="Secret with the keys `username` and `password` of an administrator; `host`, "
        "`port` and `ca.crt` too, where the spec leaves them out. The Secret that the RabbitMQ "
        "Cluster Operator writes will do."
    )
    host: str | None = Field(
        default=None,
        min_length=1,
        max_length=253,
        description="Host name or address of RabbitMQ, as workers and operator reach it. Default: "
        "the Secret's `host`.",
    )
    port: int | None = Field(
        default=None,
        ge=1,
        le=65_535,
        description="AMQP port. Default: the Secret's `port`, or 5672; with TLS 5671.",
    )
    management_url: str | None = Field(
        default=None,
        alias="managementURL",
        max_length=512,
        pattern="^https?://[^/]+",
        description="Address of RabbitMQ's management plugin. Default: http://HOST:15672; with TLS "
        "https://HOST:15671.",
    )
    tls: Tls | None = Field(
        default=None,
        description="Set, even to {}, it makes everyone use TLS. Default: TLS if the Secret's "
        "`connection_string` begins with amqps://.",
    )
    vhost: str = Field(
        default="longshore",
        min_length=1,
        max_length=127,
        description="Virtual host for all queues. Its own is best. Cannot be changed.",
        json_schema_extra=immutable(
            "jobs would stay behind in the old virtual host: make a new Broker"
        ),
    )
    create_vhost: bool = Field(
        default=True, description="Whether the virtual host may be made if it is missing."
    )
    allowed_namespaces: LabelSelector | None = Field(
        default=None,
        description="Labels of the namespaces whose TaskQueues may use this Broker; all may when "
        "absent. What was declared for one that may not any more stays as it is.",
    )
    heartbeat: Duration = Field(
        default=HEARTBEAT,
        description="AMQP heartbeat of the workers, in whole seconds. Long jobs do not need a "
        "longer one.",
        json_schema_extra=rules(
            {
                "rule": "duration(self) >= duration('1s') && duration(self) <= duration('18h')",
                "message": "must be at least 1s and at most 18h: AMQP has no room for longer "
                "heartbeats, and takes less than a second for none",
            }
        ),
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
