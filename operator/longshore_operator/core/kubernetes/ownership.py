"""Who has set which field of an object, as Kubernetes keeps it in `managedFields`."""

from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from typing import Any

_SPEC = "f:spec"
_SCALERS = ("f:replicas", "f:strategy")
"""Fields that the scaler sees to itself. Left to others is also the pods' metadata:
`kubectl rollout restart` sets an annotation there."""


def reclaimed(
    entries: Sequence[Mapping[str, Any]], *, ours: str, allowed: Collection[str]
) -> list[dict[str, Any]] | None:
    """`entries` in which what others have set of a Deployment's spec is set by the manager `ours`.

    An apply takes away only what an earlier one has set. So this is how it also takes away what
    somebody added by hand. Managers of `allowed` are left alone. None where there is nothing.
    """
    claims: dict[str, Any] = {}
    result = [deepcopy(dict(entry)) for entry in entries]
    for entry in result:
        fields = entry.get("fieldsV1")
        if entry.get("manager") in (ours, *allowed) or "subresource" in entry or not fields:
            continue
        if claim := _claim(fields):
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
    _join(own["fieldsV1"].setdefault(_SPEC, {}), claims)
    return result


def _is_apply(entry: Mapping[str, Any], manager: str) -> bool:
    return entry.get("manager") == manager and entry.get("operation") == "Apply"


def _claim(fields: dict[str, Any]) -> dict[str, Any]:
    """All of the spec but what is left to others, taken out."""
    spec: dict[str, Any] = fields.pop(_SPEC, {})
    left = {name: spec.pop(name) for name in _SCALERS if name in spec}
    template = spec.get("f:template", {})
    if "f:metadata" in template:
        left["f:template"] = {"f:metadata": template.pop("f:metadata")}
    if not template:
        spec.pop("f:template", None)
    if left:
        fields[_SPEC] = left
    return spec


def _join(fields: dict[str, Any], more: Mapping[str, Any]) -> None:
    for name, part in more.items():
        _join(fields.setdefault(name, {}), part)
