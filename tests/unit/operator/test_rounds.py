"""Secrets are read in turn, and soon where a pod waits for one."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from longshore_operator.app.ports.kubernetes import Secret
from longshore_operator.app.reconciling.rounds import SECRETS_AGE, UNFIT_AGE, Rounds
from longshore_operator.app.reconciling.state import Reconciliation
from longshore_operator.app.states import States
from longshore_operator.app.watched.objects import task_queue
from longshore_operator.app.watched.world import World
from longshore_operator.core.access.credentials import Address
from longshore_operator.core.access.passwords import Credentials
from longshore_operator.core.kubernetes.pods import Pod
from longshore_operator.errors import Transient
from longshore_operator.trouble import Trouble

SPEC = {"timeLimit": {"hard": "2h"}, "worker": {"image": "media:1", "handlers": ["media.jobs"]}}
ADDRESS = Address(
    host="h", port=5672, vhost="v", management_url="", username="admin", password="secret"
)


@dataclass
class Kubernetes:
    """Has no Secret at all, or does not answer."""

    read: list[str] = field(default_factory=list)
    answers: bool = True

    async def secret(self, *, namespace: str, name: str) -> Secret | None:
        self.read.append(name)
        if not self.answers:
            raise Transient("503", reason="KubernetesFailed")
        return None


class Turns:
    """TaskQueues whose Secrets were written at second 0."""

    def __init__(self, *names: str, chances: tuple[float, ...] = (0.0,)) -> None:
        self.now, self.kubernetes, self.woken = 0.0, Kubernetes(), 0
        draws = iter(chances)
        states = States(new=lambda _: Reconciliation())
        self.world = World(queues={})
        self.states = {}
        for name in names:
            metadata = {"namespace": "media", "name": name, "uid": f"uid-{name}", "generation": 1}
            queue = task_queue({"metadata": metadata, "spec": SPEC})
            self.world.queues = {**self.world.queues, ("media", name): [queue]}
            state = self.states[name] = states.of(("media", name), queue)
            state.users.known["producer"] = Credentials(password="p")
            session: Any = SimpleNamespace(address=ADDRESS)
            state.session = session
        self.rounds = Rounds(
            world=self.world,
            secrets=self.kubernetes,
            states=states,
            clock=lambda: self.now,
            chance=lambda: next(draws),
            wake=self._wake,
        )

    def _wake(self) -> None:
        self.woken += 1

    async def at(self, now: float) -> list[str]:
        """Secrets that are read at this time."""
        self.now = now
        self.kubernetes.read.clear()
        await self.rounds.look()
        return sorted(self.kubernetes.read)


async def test_what_is_missing_is_doubted_and_looked_into_at_once() -> None:
    turns = Turns("a")

    assert await turns.at(0) == ["a-producer"]
    assert turns.states["a"].is_doubted
    assert turns.woken == 1
    assert await turns.at(SECRETS_AGE) == [], "it is being looked into already"


async def test_those_that_were_written_together_are_not_read_together() -> None:
    turns = Turns("a", "b", "c", chances=(0.0, 0.5, 0.9))
    turns.kubernetes.answers = False  # so nothing is doubted

    assert await turns.at(0) == ["a-producer"]
    assert await turns.at(SECRETS_AGE * 0.5) == ["b-producer"]
    assert await turns.at(SECRETS_AGE * 0.9) == ["c-producer"]
    assert await turns.at(SECRETS_AGE) == ["a-producer"]
    assert turns.woken == 0


async def test_a_pod_that_waits_for_a_secret_does_not_wait_for_its_turn() -> None:
    turns = Turns("a")
    turns.kubernetes.answers = False
    await turns.at(0)
    pod = Pod(
        name="w",
        running=False,
        ready=False,
        ending=False,
        trouble=Trouble(reason="CreateContainerConfigError", message="secret not found"),
    )
    turns.world.all_pods = {("media", "a"): [pod]}

    assert await turns.at(UNFIT_AGE - 1) == []
    assert await turns.at(UNFIT_AGE) == ["a-producer"]


async def test_what_was_never_written_is_not_missed() -> None:
    turns = Turns("a")
    turns.states["a"].users.known.clear()

    assert await turns.at(0) == []
