"""Policies that others have installed beside the operator."""

from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from longshore.logs import Log
from longshore_operator.core.scaling import BUILT_IN, Policy

GROUP = "longshore.scaling_policies"

log = Log(__name__)


def scaling_policies(found: Iterable[EntryPoint] | None = None) -> Mapping[str, Policy]:
    """The built-in policies and those of the entry points. One that cannot be loaded is logged and
    left out: TaskQueues that name it say so, the others go on."""
    policies = dict(BUILT_IN)
    for entry in entry_points(group=GROUP) if found is None else found:
        try:
            policies[entry.name] = _load(entry, known=policies)
        except Exception:  # somebody else's code
            log.exception("plugin-failed", group=GROUP, entry_point=f"{entry.name} = {entry.value}")
    return policies


def _load(entry: EntryPoint, *, known: Mapping[str, Policy]) -> Policy:
    if entry.name in known:
        raise ValueError(f"there is a scaling policy {entry.name!r} already")
    policy = entry.load()
    if not callable(policy):
        raise TypeError(f"{entry.value} is {policy!r}, which cannot be called")
    return cast("Policy", policy)
