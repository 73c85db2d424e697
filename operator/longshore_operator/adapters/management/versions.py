"""Of which version a RabbitMQ is whose nodes are upgraded one after the other."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """What the running nodes say of themselves."""

    lowest: str | None
    """What all of them can do; None where none says anything."""

    silent: int
    """Nodes that say nothing: those that started a few seconds ago, or all, where RabbitMQ's
    statistics are switched off."""


def versions_in(nodes: Sequence[Mapping[str, Any]]) -> Versions:
    """Versions of the running nodes, as `/api/nodes` lists them. Raises TypeError, AttributeError
    or KeyError for what is no such list."""
    if not isinstance(nodes, list):
        raise TypeError(f"a list of nodes was expected, not {type(nodes).__name__}")
    running = [node for node in nodes if node.get("running")]
    known = [version for node in running if (version := _version(node))]
    return Versions(lowest=min(known, key=_number, default=None), silent=len(running) - len(known))


def _version(node: Mapping[str, Any]) -> str | None:
    applications = node.get("applications") or ()
    found = (each["version"] for each in applications if each["name"] == "rabbit")
    return next((str(version) for version in found), None)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d{1,9}", version)[:3])
