"""Kubernetes for tests of what the operator asks of it: says yes, and notes the calls."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from longshore_operator.app.watched.world import Kind
from longshore_operator.core.kubernetes.containers import Warned
from longshore_operator.core.kubernetes.rollout import Rollout
from longshore_operator.errors import Invalid, Transient
from tests.integration.operator.fakes import Kubernetes as InDicts


@dataclass
class Kubernetes(InDicts):
    calls: list[str] = field(default_factory=list)
    failing: set[str] = field(default_factory=set)
    """Beginnings of calls that are refused."""

    reason: str = "KubernetesFailed"

    most: int | None = None
    """A rule of the cluster refuses more replicas than that."""

    least: int | None = None
    """A rule of the cluster refuses fewer replicas than that."""

    made: int = 0
    """Pods of the Deployment that there are, whatever a watch shows."""

    pods: set[str] = field(default_factory=set)
    """Uids of pods that are there."""

    listed: dict[Kind, set[str]] = field(default_factory=dict)
    """Uids that lists have, by kind."""

    hpas: list[Mapping[str, Any]] = field(default_factory=list)

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if any(call.startswith(beginning) for beginning in self.failing):
            raise Transient(f"{call}: 503", reason=self.reason)

    rollout: Rollout | None = None
    """What was asked for last."""

    async def scale(
        self, *, namespace: str, name: str, uid: str, replicas: int, rollout: Rollout
    ) -> int:
        self._note(f"scale {namespace}/{name} to {replicas}")
        self.rollout = rollout
        return 2

    async def rescale(
        self,
        *,
        namespace: str,
        name: str,
        uid: str,
        before: int,
        to: int,
        rollout: Rollout,
        most_pods: int | None = None,
    ) -> int:
        self._note(f"rescale {namespace}/{name} from {before} to {to}")
        if most_pods is not None and self.made > most_pods:
            raise Transient(f"{self.made} pods, more than {most_pods}", reason="Conflict")
        if self.most is not None and to > self.most:
            raise Invalid(f"{to}: at most {self.most} replicas", reason="RefusedByKubernetes")
        if self.least is not None and to < self.least:
            raise Invalid(f"{to}: at least {self.least} replicas", reason="RefusedByKubernetes")
        self.rollout = rollout
        return 2

    async def annotate_pod(
        self, *, namespace: str, name: str, uid: str, annotations: Mapping[str, str | None]
    ) -> None:
        values = " ".join(sorted({str(value) for value in annotations.values()}))
        self._note(f"annotate {name} {values}")

    async def uids(self, kind: Kind, *, namespace: str | None) -> set[str]:
        self._note(f"list {kind}")
        return self.listed.get(kind, set())

    async def has_pod(self, *, namespace: str, name: str, uid: str) -> bool:
        self._note(f"look for {name}")
        return uid in self.pods

    warned: list[Warned] = field(default_factory=list)

    async def warnings(self, *, namespace: str, uid: str) -> list[Warned]:
        self._note(f"warnings about {uid}")
        return self.warned

    async def retry_pods(self, *, namespace: str, name: str, at: str) -> None:
        self._note(f"retry {namespace}/{name}")

    async def autoscalers(self, *, namespace: str | None) -> list[Mapping[str, Any]]:
        self._note(f"autoscalers {namespace}")
        return self.hpas
