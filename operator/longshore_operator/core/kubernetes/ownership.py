"""Which manager has set which field of an object, as Kubernetes records it in `managedFields`."""

from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from typing import Any

_SPEC = "f:spec"
_SCALERS = ("f:replicas", "f:strategy")
"""Fields that the scaler sets. The pods' metadata is left to others too, because `kubectl rollout
restart` sets an annotation there."""


def reclaimed(
    entries: Sequence[Mapping[str, Any]], *, ours: str, allowed: Collection[str]
) -> list[dict[str, Any]] | None:
    """Return `entries` with the fields of a Deployment's spec that others have set transferred to
    the manager `ours`; None if there are none.

    An apply removes only fields that an earlier apply has set. After this transfer, it also removes
    what someone added by hand. Managers in `allowed` keep their fields.
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
    """Remove the spec's fields from `fields`, except those that are left to others, and return
    them."""
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
