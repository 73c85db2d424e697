"""A user's pod template over ours, merged as Kubernetes merges what several managers apply."""

from collections.abc import Hashable, Mapping
from typing import Any

_KEYS: Mapping[str, tuple[str, ...]] = {
    "hostAliases": ("ip",),
    "ports": ("containerPort", "protocol"),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "volumeDevices": ("devicePath",),
    "volumeMounts": ("mountPath",),
}
"""Fields by which Kubernetes tells the items of a pod's lists apart (`x-kubernetes-list-map-keys`
of its API); `name` in all other lists."""

_DEFAULTS = {"protocol": "TCP"}


def merged(base: Any, overlay: Any, *, field: str = "") -> Any:
    """`base` changed as `overlay` says; both are what stands in `field` of something larger.

    Mappings are merged, null removes; lists whose items have the keys by which Kubernetes tells
    them apart are merged by these; all else is replaced. Of items that share a key none is dropped:
    Kubernetes refuses them, and says which.
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
    """What tells an item of the list `field` apart; None where nothing does."""
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
    """Whether `live` already says all that `wanted` says; it may say more.

    Values that the API server rewrites (`1024Mi` as `1Gi`) count as different, which costs one
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
