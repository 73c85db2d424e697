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
    """A Secret in a namespace."""

    name: DnsName = Field(description="Name of the Secret.")
    namespace: DnsLabel = Field(description="Namespace of the Secret.")


class AuthorityReference(SecretReference):
    """A certificate authority in a Secret."""

    key: str = Field(
        default="ca.crt",
        min_length=1,
        max_length=253,
        description="Key in the Secret that holds the authority's certificates in PEM format.",
    )


class Tls(Resource):
    """TLS between RabbitMQ and the operator, workers and producers."""

    ca_secret_ref: AuthorityReference | None = Field(
        default=None,
        description="Secret with the certificate authority that signed RabbitMQ's certificate. "
        "Default: key `ca.crt` of the Broker's own Secret; without this key, the authorities that "
        "the system trusts.",
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
    """A Kubernetes label selector: all requirements must be met. An empty one matches all."""

    match_labels: dict[str, Annotated[str, Field(max_length=63)]] = Field(
        default={}, max_length=64, description="Required labels with their values."
    )
    match_expressions: list[LabelRequirement] = Field(
        default=[], max_length=64, description="Other requirements for labels."
    )


class BrokerSpec(Resource):
    """How to reach one RabbitMQ."""

    secret_ref: SecretReference = Field(
        description="Secret with the keys `username` and `password` of a RabbitMQ administrator, "
        "and with `host`, `port` and `ca.crt` where the spec omits them. The Secret that the "
        "RabbitMQ Cluster Operator creates can be used."
    )
    host: str | None = Field(
        default=None,
        min_length=1,
        max_length=253,
        description="Host name or address at which the operator and the workers reach RabbitMQ. "
        "Default: the Secret's `host`.",
    )
    port: int | None = Field(
        default=None,
        ge=1,
        le=65_535,
        description="AMQP port. Default: the Secret's `port`; without one, 5672, or 5671 with TLS.",
    )
    management_url: str | None = Field(
        default=None,
        alias="managementURL",
        max_length=512,
        pattern="^https?://[^/]+",
        description="URL of RabbitMQ's management plugin. Default: http://HOST:15672, or "
        "https://HOST:15671 with TLS.",
    )
    tls: Tls | None = Field(
        default=None,
        description="If this is set, even to {}, all connections to RabbitMQ use TLS. Default: TLS "
        "if the Secret's `connection_string` begins with amqps://.",
    )
    vhost: str = Field(
        default="longshore",
        min_length=1,
        max_length=127,
        description="Virtual host for all queues, preferably one that nothing else uses. Cannot "
        "be changed.",
        json_schema_extra=immutable(
            "jobs would stay behind in the old virtual host: create a new Broker"
        ),
    )
    create_vhost: bool = Field(
        default=True,
        description="Whether the operator may create the virtual host if it is missing.",
    )
    allowed_namespaces: LabelSelector | None = Field(
        default=None,
        description="Labels of the namespaces whose TaskQueues may use this Broker. Default: all "
        "namespaces. If a namespace no longer matches, what was declared for its TaskQueues stays "
        "as it is.",
    )
    heartbeat: Duration = Field(
        default=HEARTBEAT,
        description="AMQP heartbeat of the workers, in whole seconds. Long jobs do not need a "
        "longer one.",
        json_schema_extra=rules(
            {
                "rule": "duration(self) >= duration('1s') && duration(self) <= duration('18h')",
                "message": "must be at least 1s and at most 18h: AMQP cannot express longer "
                "heartbeats, and treats less than a second as no heartbeat",
            }
        ),
    )


class BrokerFeatures(Resource):
    """Features that RabbitMQ has or lacks depending on its version."""

    ack_timeout_by_consumer: bool = Field(
        description="Workers set their own ack timeout (since 4.3); otherwise, a policy sets it."
    )
    nack_is_free: bool = Field(
        description="A job that a worker returns keeps its delivery count (since 4.3)."
    )
    strict_priorities: bool = Field(
        description="There are 32 strict priorities (since 4.3); otherwise, two classes at 2:1."
    )


class BrokerStatus(Resource):
    """The observed state of a Broker."""

    observed_generation: int = Field(default=0, description="Generation of the spec in force.")
    conditions: Conditions = ()
    version: str | None = Field(default=None, max_length=64, description="RabbitMQ's version.")
    features: BrokerFeatures | None = Field(
        default=None, description="Features that depend on RabbitMQ's version."
    )
    task_queues: int = Field(default=0, description="Number of TaskQueues on this Broker.")


class Broker(Resource):
    """A RabbitMQ that TaskQueues can use."""

    spec: BrokerSpec = Field(description="How to reach RabbitMQ.")
    status: BrokerStatus | None = Field(default=None, description="The observed state.")
