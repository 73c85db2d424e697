"""Fields of a user's pod template that would break one of Longshore's promises."""

from collections.abc import Iterator, Mapping
from typing import Any

from longshore_operator.api.v1alpha1.pod_template import (
    CONTAINER,
    CONTAINER_LISTS,
    HOST_PORT_WHY,
    LIVENESS_AT_LEAST,
    POD_FIELDS,
    RESERVED_ENV,
    RESERVED_WHY,
    SET_ENV,
    WORKER_FIELDS,
)


def broken(ours: Mapping[str, Any], merged: Mapping[str, Any]) -> list[str]:
    """Return the fields of the pod template `merged` that must be as in `ours` and are not, with
    the reason.

    What does not have the shape of a pod template is left for Kubernetes to refuse.
    """
    worker = container_in(merged)
    own = container_in(ours)
    return [*_of_pod(ours, merged), *(_of_worker(own, worker) if worker else ())]


def _of_pod(ours: Mapping[str, Any], merged: Mapping[str, Any]) -> Iterator[str]:
    for field, why in POD_FIELDS.items():
        value = _at(merged, f"spec.{field}")
        if (value or None) != _at(ours, f"spec.{field}"):
            yield f"spec.{field} is {value!r}: {why}"
    for field in CONTAINER_LISTS:
        for container in _mappings(_at(merged, f"spec.{field}")):
            for port in _mappings(container.get("ports")):
                if value := port.get("hostPort"):
                    where = f"spec.{field}[{container.get('name')}].ports"
                    yield f"{where} has hostPort {value!r}: {HOST_PORT_WHY}"
    grace = "spec.terminationGracePeriodSeconds"
    wanted, value = _at(ours, grace), _at(merged, grace)
    if not isinstance(value, int) or value < wanted:
        yield (
            f"{grace} is {value!r}: timeLimit needs at least {wanted}, otherwise each rollout "
            "would kill running jobs; remove the field"
        )


def _of_worker(ours: Mapping[str, Any], merged: Mapping[str, Any]) -> Iterator[str]:
    where = f"spec.containers[{CONTAINER}]"
    for field, why in WORKER_FIELDS.items():
        if (value := _at(merged, field)) != _at(ours, field):
            yield f"{where}.{field} is {value!r}: {why}"
    for field in LIVENESS_AT_LEAST:
        name = f"livenessProbe.{field}"
        least, value = _at(ours, name), _at(merged, name)
        if not isinstance(value, int) or value < least:
            yield f"{where}.{name} is {value!r}: it must not be below {least}"
    before, after = _variables(ours), _variables(merged)
    for name in RESERVED_ENV:
        if before.get(name) != after.get(name) or (name in after and name not in SET_ENV):
            yield f"{where}.env or spec.worker.env sets {name}: {RESERVED_WHY}"


def container_in(template: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the worker's container in a pod template; empty if there is none."""
    containers = _mappings(_at(template, "spec.containers"))
    return next((each for each in containers if each.get("name") == CONTAINER), {})


def _variables(container: Mapping[str, Any]) -> dict[Any, Any]:
    return {str(each.get("name")): each for each in _mappings(container.get("env"))}


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    """Return the mappings in a list; none if `value` is no list."""
    return [
        each for each in (value if isinstance(value, list) else ()) if isinstance(each, Mapping)
    ]


def _at(value: Any, path: str) -> Any:
    """Return the value at `path`; None if there is none."""
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
