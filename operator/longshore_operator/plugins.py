"""Scaling policies that are installed with the operator as plug-ins."""

from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from longshore.logs import Log
from longshore_operator.core.scaling import BUILT_IN, Policy

GROUP = "longshore.scaling_policies"

log = Log(__name__)


def scaling_policies(found: Iterable[EntryPoint] | None = None) -> Mapping[str, Policy]:
    """Return the built-in policies and those of the entry points.

    A policy that cannot be loaded is logged and left out: TaskQueues that name it report that, and
    the others are not affected.
    """
    policies = dict(BUILT_IN)
    for entry in entry_points(group=GROUP) if found is None else found:
        try:
            policies[entry.name] = _load(entry, known=policies)
        except Exception:  # a plug-in's code may raise anything
            log.exception("plugin-failed", group=GROUP, entry_point=f"{entry.name} = {entry.value}")
    return policies


def _load(entry: EntryPoint, *, known: Mapping[str, Policy]) -> Policy:
    if entry.name in known:
        raise ValueError(f"a scaling policy {entry.name!r} already exists")
    policy = entry.load()
    if not callable(policy):
        raise TypeError(f"{entry.value} is {policy!r}, which is not callable")
    return cast("Policy", policy)
