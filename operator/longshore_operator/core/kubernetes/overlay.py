"""Merges a user's pod template over the operator's, as Kubernetes merges what several managers
apply."""

from collections.abc import Hashable, Mapping
from typing import Any

_KEYS: Mapping[str, tuple[str, ...]] = {
    "hostAliases": ("ip",),
    "ports": ("containerPort", "protocol"),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "volumeDevices": ("devicePath",),
    "volumeMounts": ("mountPath",),
}
"""Fields by which Kubernetes distinguishes the items of a pod's lists
(`x-kubernetes-list-map-keys` of its API); in all other lists, it is `name`."""

_DEFAULTS = {"protocol": "TCP"}


def merged(base: Any, overlay: Any, *, field: str = "") -> Any:
    """Return `base` with `overlay` merged over it; both are values of `field` in a larger object.

    Mappings are merged, and null removes. Lists are merged by the keys by which Kubernetes
    distinguishes their items, if all items have these keys. Everything else is replaced. Items that
    share a key are all kept: Kubernetes refuses them and names them.
    """
    if isinstance(base, Mapping) and isinstance(overlay, Mapping):
        result = dict(base)
        for name, value in overlay.items():
            if value is None:
                result.pop(name, None)
            else:
                result[name] = merged(base.get(name), value, field=name)
        return result
    if isinstance(base, list) and isinstance(overlay, list):
        ours = [_key(item, field) for item in base]
        theirs = [_key(item, field) for item in overlay]
        return overlay if None in (*ours, *theirs) else _merged_by(ours, base, theirs, overlay)
    return overlay


def _key(item: Any, field: str) -> Hashable:
    """Return the key that identifies an item of the list `field`; None if it has none."""
    if not isinstance(item, Mapping):
        return None
    names = _KEYS.get(field, ("name",))
    key = tuple(item.get(name, _DEFAULTS.get(name)) for name in names)
    return key if all(isinstance(part, str | int) for part in key) else None


def _merged_by(
    ours: list[Hashable], base: list[Any], theirs: list[Hashable], overlay: list[Any]
) -> list[Any]:
    left = list(zip(theirs, overlay, strict=True))
    result = []
    for key, item in zip(ours, base, strict=True):
        at = next((at for at, (other, _) in enumerate(left) if other == key), None)
        result.append(item if at is None else merged(item, left.pop(at)[1]))
    return result + [item for _, item in left]


def contains(live: Any, wanted: Any) -> bool:
    """Return whether `live` has everything that `wanted` has; it may have more.

    Values that the API server rewrites (`1024Mi` as `1Gi`) count as different, which causes one
    apply without effect.
    """
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(
            contains(live.get(name), value) for name, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(live, list)
            and len(live) == len(wanted)
            and all(contains(*pair) for pair in zip(live, wanted, strict=True))
        )
    return bool(live == wanted)
