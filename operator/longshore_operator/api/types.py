"""Field types that the custom resources share: how a manifest writes them, what Python gets."""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

from longshore.contract.durations import PATTERN, format_duration, parse_duration


class Resource(BaseModel):
    """A part of a custom resource: camelCase in manifests, immutable in Python.

    Unknown fields are ignored when an object is read, as the API server prunes them: a newer CRD
    must not stop an older operator.
    """

    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True
    )


def rules(*items: dict[str, str]) -> dict[str, Any]:
    """Return CEL rules for `json_schema_extra`.

    Each has a `message`, or a `messageExpression` that shows the values. The latter is only for
    strings of bounded length; others exceed the API server's cost limits.
    """
    return {"x-kubernetes-validations": list(items)}


def immutable(remedy: str) -> dict[str, Any]:
    """Return a rule for a field that cannot be changed; `remedy` says what to do instead."""
    return {
        "x-kubernetes-validations": [
            {"rule": "self == oldSelf", "message": f"cannot be changed; {remedy}"}
        ]
    }


def _read(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


Seconds = Annotated[
    float,
    BeforeValidator(_read),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
]
"""A duration: a Go-style string in a manifest, seconds in Python."""

_DURATION = {"type": "string", "pattern": PATTERN, "maxLength": 20}

Duration = Annotated[
    Seconds,
    WithJsonSchema(
        _DURATION
        | {
            "x-kubernetes-validations": [
                {
                    "rule": "duration(self) > duration('0s') "
                    "&& duration(self) <= duration('8760h')",
                    "message": "must be longer than 0s and at most 8760h, a year",
                }
            ]
        }
    ),
]
"""A duration above zero: `1h30m` in a manifest, seconds in Python.

At most a year: RabbitMQ accepts TTLs up to 2²⁸ s, and jitter may double a delay.
"""

DurationOrZero = Annotated[Seconds, WithJsonSchema(_DURATION)]

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei)?")
_FACTORS = {"m": 0.001, "k": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4, "P": 1000**5}
_FACTORS |= {"E": 1000**6, "Ki": 1024, "Mi": 1024**2, "Gi": 1024**3, "Ti": 1024**4}
_FACTORS |= {"Pi": 1024**5, "Ei": 1024**6}


def parse_quantity(value: int | str) -> int:
    """Return a Kubernetes quantity in whole units (bytes, for memory). Raises ValueError."""
    match = _QUANTITY.fullmatch(str(value))
    if not match:
        raise ValueError(f"{value!r} is not a quantity; write it like 512Mi or 2G")
    return int(float(match[1]) * _FACTORS.get(match[2], 1))


_QUANTITY_SCHEMA = {
    "x-kubernetes-int-or-string": True,
    "pattern": f"^{_QUANTITY.pattern}$".replace("?:", ""),
    "maxLength": 32,
}

Bytes = Annotated[
    int,
    BeforeValidator(parse_quantity),
    Field(ge=1),
    WithJsonSchema(_QUANTITY_SCHEMA),
]
"""An amount of memory: `512Mi` in a manifest, bytes in Python."""

Quantity = Annotated[int | str, WithJsonSchema(_QUANTITY_SCHEMA)]
"""A Kubernetes quantity that is passed on unread."""

Prefetch = Annotated[
    Literal["auto"] | Annotated[int, Field(ge=1)],
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "x-kubernetes-validations": [
                {
                    "rule": "type(self) == int ? self >= 1 && self <= 1000 : self == 'auto'",
                    "message": "must be `auto` or a whole number from 1 to 1000",
                }
            ],
        }
    ),
]
"""Jobs that a worker may hold: a number, or `auto`."""

Object = Annotated[
    dict[str, Any],
    WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
]
"""A part of another API's object that is passed on unread."""

DnsLabel = Annotated[
    str, Field(min_length=1, max_length=63, pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
]
DnsName = Annotated[
    str, Field(min_length=1, max_length=253, pattern="^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$")
]
