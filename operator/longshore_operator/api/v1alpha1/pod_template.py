"""The parts of a pod in a TaskQueue: what `worker.podTemplate` may set, and what it must not set
because a promise rests on it.

The API server checks it by the rules that are generated here. `core.kubernetes.promises` checks the
merged template by the same tables, for objects that were stored before a rule existed.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from longshore.contract.names import (
    AMQP_CA_ENV,
    AMQP_URL_ENV,
    POD_NAME_ENV,
    QUEUE_ENV,
    TERMINATION_LOG_ENV,
    WORKER_CONFIG_ENV,
)
from longshore_operator.api.types import Object, Quantity, Resource


class EnvVar(Resource):
    """One environment variable, as in a pod's container."""

    name: str = Field(min_length=1, max_length=253, description="Name of the variable.")
    value: str | None = Field(default=None, max_length=32_768, description="Its value.")
    value_from: Object | None = Field(
        default=None, description="Where its value comes from, as in a pod's container."
    )


class ComputeResources(Resource):
    """Compute resources of one worker, as in a pod's container."""

    requests: dict[str, Quantity] | None = Field(
        default=None, max_length=16, description="What the scheduler reserves."
    )
    limits: dict[str, Quantity] | None = Field(
        default=None, max_length=16, description="What the worker cannot exceed."
    )


CONTAINER = "worker"
"""Name of the container that runs the jobs."""

_START = (
    "the image's own command must start the worker, so that signals and probes reach it; if you "
    "need a wrapper, put it into the image"
)
_PROBE = "a worker is alive as long as it answers at /healthz, even while its jobs use every CPU"
_GRACE = "running jobs would have less time to end than timeLimit allows"
_READY = "a worker is ready when it takes jobs, which it reports at /readyz"
_AGAIN = "a worker that has ended must be restarted"
_HANDLERS = ("exec", "grpc", "httpGet", "tcpSocket")

WORKER_FIELDS: Mapping[str, str] = {
    "command": _START,
    "args": _START,
    "lifecycle": "a hook would use up the time that running jobs have to end, and a stop signal "
    "other than SIGTERM would end a worker together with its jobs",
    "restartPolicy": _AGAIN,
    "restartPolicyRules": _AGAIN,
    "startupProbe": _PROBE,
    "terminationMessagePath": "the worker writes the reason why it ended to this file, and the "
    "status shows it",
    **{f"livenessProbe.{handler}": _PROBE for handler in _HANDLERS},
    "livenessProbe.terminationGracePeriodSeconds": _GRACE,
    **{f"readinessProbe.{handler}": _READY for handler in _HANDLERS},
}
"""Fields of the container `worker` that stay as Longshore sets them, and why."""

LIVENESS_AT_LEAST: Mapping[str, int] = {
    "periodSeconds": 10,
    "timeoutSeconds": 2,
    "failureThreshold": 3,
}
"""Lower bounds of a liveness probe: it may be slower, but not faster."""

HOST_PORT_WHY = "a node has each port only once, so a second worker could not run there"
"""Why no container of a worker's pod may have `hostPort`."""

CONTAINER_LISTS = ("containers", "initContainers")

POD_FIELDS: Mapping[str, str] = {
    "activeDeadlineSeconds": "it would end a worker together with its jobs",
    "hostNetwork": "all workers listen on the same port, which a node has only once",
    "restartPolicy": _AGAIN,
}
"""Fields of the pod that stay as Longshore sets them, and why."""

SET_ENV = (WORKER_CONFIG_ENV, POD_NAME_ENV, TERMINATION_LOG_ENV)
"""Variables of the container `worker` that Longshore sets."""

RESERVED_ENV = (*SET_ENV, AMQP_URL_ENV, AMQP_CA_ENV, QUEUE_ENV)
"""Variables that tell a worker what to do and where to connect. Those that are not in `SET_ENV`
come from a Secret, which variables of the container would override."""

RESERVED_WHY = (
    "only Longshore sets these variables; with other values, workers would not follow the spec or "
    "new passwords, or could not report why they ended"
)


def reserved_env_rule(env: str) -> dict[str, str]:
    """Return the CEL rule for a list of variables; `env` is the path of the list, whose parent
    must exist."""
    return {
        "rule": f"!has({env}) || {_none_reserved(env)}",
        "message": f"worker.env must not set any of {', '.join(RESERVED_ENV)}: {RESERVED_WHY}",
    }


def _none_reserved(env: str) -> str:
    return f"{env}.all(e, !(e.name in {list(RESERVED_ENV)}))"


def _in_worker(holds: str) -> str:
    """Return a rule: if the template has the container `worker`, `holds` is true of it."""
    return (
        "!has(self.spec) || !has(self.spec.containers) || "
        f"self.spec.containers.all(c, c.name != '{CONTAINER}' || ({holds}))"
    )


def _unset(field: str) -> str:
    outer, _, inner = field.partition(".")
    return f"!has(c.{outer}) || !has(c.{field})" if inner else f"!has(c.{outer})"


def _rules() -> Iterator[dict[str, str]]:
    where = f"worker.podTemplate must not set {{}} of the container `{CONTAINER}`: "
    for field, why in WORKER_FIELDS.items():
        yield {"rule": _in_worker(_unset(field)), "message": where.format(field) + why}
    for field, least in LIVENESS_AT_LEAST.items():
        name = f"livenessProbe.{field}"
        rule = f"!has(c.livenessProbe) || !has(c.{name}) || c.{name} >= {least}"
        message = f"worker.podTemplate must not set {name} below {least}: {_PROBE}"
        yield {"rule": _in_worker(rule), "message": message}
    yield {
        "rule": _in_worker(f"!has(c.env) || {_none_reserved('c.env')}"),
        "message": where.format(f"any of {', '.join(RESERVED_ENV)}") + RESERVED_WHY,
    }
    for field in CONTAINER_LISTS:
        yield {
            "rule": f"!has(self.spec) || !has(self.spec.{field}) || self.spec.{field}.all(c, "
            "!has(c.ports) || c.ports.all(p, !has(p.hostPort) || p.hostPort == 0))",
            "message": f"worker.podTemplate must not set hostPort in spec.{field}: {HOST_PORT_WHY}",
        }
    for field, why in POD_FIELDS.items():
        yield {
            "rule": f"!has(self.spec) || !has(self.spec.{field})"
            + (f" || !self.spec.{field}" if field == "hostNetwork" else ""),
            "message": f"worker.podTemplate must not set {field}: {why}",
        }


def _partly(
    properties: Mapping[str, Mapping[str, Any]], *, fixed: Iterable[str] = (), **more: Any
) -> dict[str, Any]:
    """Return the schema of an object of which only some fields are checked; those in `fixed` must
    stay unset."""
    unset = set(fixed)
    return {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
        "properties": {
            name: {
                **schema,
                "description": "Longshore sets it for its workers; it cannot be changed."
                if name in unset
                else "As in a pod.",
            }
            for name, schema in properties.items()
        },
        **more,
    }


def _list(items: Mapping[str, Any], *, most: int) -> dict[str, Any]:
    return {"type": "array", "maxItems": most, "items": dict(items)}


_ANY = _partly({})
_TEXT = {"type": "string", "maxLength": 4096}
_NUMBER = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
_TEXTS = {
    "type": "object",
    "nullable": True,
    "maxProperties": 256,
    "additionalProperties": {"type": "string", "nullable": True, "maxLength": 262_144},
}
_PROBE_SCHEMA = _partly(
    dict.fromkeys(_HANDLERS, _ANY)
    | dict.fromkeys(("terminationGracePeriodSeconds", *LIVENESS_AT_LEAST), _NUMBER),
    fixed=[*_HANDLERS, "terminationGracePeriodSeconds"],
)
_VARIABLE = _partly({"name": {"type": "string", "maxLength": 253}}, required=["name"])
_PORTS = _list(_partly({"hostPort": _NUMBER}), most=64)
_CONTAINER = _partly(
    {
        "name": {"type": "string", "maxLength": 63},
        "command": _list(_TEXT, most=64),
        "args": _list(_TEXT, most=64),
        "env": _list(_VARIABLE, most=128),
        "lifecycle": _ANY,
        "livenessProbe": _PROBE_SCHEMA,
        "ports": _PORTS,
        "readinessProbe": _PROBE_SCHEMA,
        "startupProbe": _ANY,
        "restartPolicy": _TEXT,
        "restartPolicyRules": _list(_ANY, most=20),
        "terminationMessagePath": _TEXT,
    },
    required=["name"],
)
_SCHEMA = _partly(
    {
        "metadata": _partly({"annotations": _TEXTS, "labels": _TEXTS}),
        "spec": _partly(
            {
                "activeDeadlineSeconds": _NUMBER,
                "containers": _list(_CONTAINER, most=32),
                "hostNetwork": {"type": "boolean"},
                "initContainers": _list(_partly({"ports": _PORTS}), most=32),
                "restartPolicy": _TEXT,
                "terminationGracePeriodSeconds": _NUMBER,
            },
            fixed=POD_FIELDS,
        ),
    }
)
_SCHEMA["x-kubernetes-validations"] = list(_rules())

PodTemplate = Annotated[dict[str, Any], WithJsonSchema(_SCHEMA)]
"""A pod template, of which only the fields that Longshore relies on are checked."""

_OWN_GRACE = "self.worker.podTemplate.spec.terminationGracePeriodSeconds"


def grace_rule(*, requeue: float, margin: float) -> dict[str, str]:
    """Return a rule for the whole spec: a pod's grace must outlast its jobs.

    `requeue` is the time that interrupted jobs have instead of their limit, and `margin` is added
    to either, both in seconds.
    """
    hard = "duration(self.timeLimit.hard).getSeconds()"
    return {
        "rule": "!has(self.worker.podTemplate) || !has(self.worker.podTemplate.spec) || "
        f"!has({_OWN_GRACE}) || {_OWN_GRACE} >= "
        f"(self.onTermination == 'Requeue' ? {round(requeue)} : {hard}) "
        f"+ duration(self.timeLimit.killGrace).getSeconds() + {round(margin)}",
        "message": "worker.podTemplate must not set spec.terminationGracePeriodSeconds below "
        f"timeLimit.hard + timeLimit.killGrace + {margin:g}s (with onTermination Requeue, "
        f"{requeue:g}s instead of timeLimit.hard): each rollout would kill running jobs; remove "
        "the field",
    }
