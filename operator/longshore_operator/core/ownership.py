"""Who has set which field of an object, as Kubernetes keeps it in `managedFields`."""

from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from typing import Any

_PODS = ("f:spec", "f:template", "f:spec")
"""The part of a Deployment that says what its pods are. Annotations of pods are outside of it:
`kubectl rollout restart` sets one."""


def reclaimed(
    entries: Sequence[Mapping[str, Any]], *, ours: str, allowed: Collection[str]
) -> list[dict[str, Any]] | None:
    """`entries` in which what others have set of a Deployment's pods is set by the manager `ours`.

    An apply takes away only what an earlier one has set. So this is how it also takes away what
    somebody added by hand. Managers of `allowed` are left alone. None where there is nothing.
    """
    claims: dict[str, Any] = {}
    result = [deepcopy(dict(entry)) for entry in entries]
    for entry in result:
        fields = entry.get("fieldsV1")
        if entry.get("manager") in (ours, *allowed) or "subresource" in entry or not fields:
            continue
        if claim := _take(fields, _PODS):
            _join(claims, claim)
    if not claims:
        return None
    result = [entry for entry in result if entry.get("fieldsV1")]
    own = next((entry for entry in result if _is_apply(entry, ours)), None)
    if own is None:
        own = {
            "manager": ours,
            "operation": "Apply",
            "apiVersion": "apps/v1",
            "fieldsType": "FieldsV1",
            "fieldsV1": {},
        }
        result.append(own)
    here = own["fieldsV1"]
    for step in _PODS:
        here = here.setdefault(step, {})
    _join(here, claims)
    return result


def _is_apply(entry: Mapping[str, Any], manager: str) -> bool:
    return entry.get("manager") == manager and entry.get("operation") == "Apply"


def _take(fields: dict[str, Any], path: Sequence[str]) -> dict[str, Any]:
    """What stands at `path`, taken out together with what is empty then."""
    step, *rest = path
    if step not in fields:
        return {}
    if not rest:
        taken: dict[str, Any] = fields.pop(step)
        return taken
    found = _take(fields[step], rest)
    if not fields[step]:
        del fields[step]
    return found


def _join(fields: dict[str, Any], more: Mapping[str, Any]) -> None:
    for name, part in more.items():
        _join(fields.setdefault(name, {}), part)
