"""A user's pod template over ours, merged as Kubernetes merges patches."""

from collections.abc import Mapping
from typing import Any

_KEYS = ("name", "mountPath", "containerPort", "topologyKey")
"""Fields by which Kubernetes tells the items of a list apart; the first that all items have."""


def merged(base: Any, overlay: Any) -> Any:
    """`base` changed as `overlay` says.

    Mappings are merged, null removes; lists of named things are merged by name; all else is
    replaced.
    """
    if isinstance(base, Mapping) and isinstance(overlay, Mapping):
        result = dict(base)
        for name, value in overlay.items():
            if value is None:
                result.pop(name, None)
            else:
                result[name] = merged(base.get(name), value)
        return result
    if isinstance(base, list) and isinstance(overlay, list):
        key = _key(base, overlay)
        return overlay if key is None else _merged_by(key, base, overlay)
    return overlay


def _key(base: list[Any], overlay: list[Any]) -> str | None:
    items = base + overlay
    for key in _KEYS:
        if items and all(
            isinstance(item, Mapping) and isinstance(item.get(key), str | int) for item in items
        ):
            return key
    return None


def _merged_by(key: str, base: list[Any], overlay: list[Any]) -> list[Any]:
    theirs = {item[key]: item for item in overlay}
    result = [merged(item, theirs.pop(item[key])) if item[key] in theirs else item for item in base]
    return result + list(theirs.values())


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
