"""The states that a loop keeps of each TaskQueue. It may forget all of them at any time."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.app.watched.world import Key

_S = TypeVar("_S")


@dataclass(slots=True, kw_only=True)
class States(Generic[_S]):
    """States of one loop, which alone writes them. `new` creates a TaskQueue's first state."""

    new: Callable[[TaskQueueObject], _S]
    _states: dict[Key, tuple[str, _S]] = field(default_factory=dict)
    """Each state, with the uid of its TaskQueue."""

    def of(self, key: Key, task_queue: TaskQueueObject) -> _S:
        """Return the state of this TaskQueue; a new one if another one had its name before."""
        uid, state = self._states.get(key, ("", None))
        if state is None or uid != task_queue.uid:
            state = self.new(task_queue)
            self._states[key] = (task_queue.uid, state)
        return state

    def known(self, key: Key) -> _S | None:
        """Return the state of a TaskQueue by its name alone, if there is one."""
        known = self._states.get(key)
        return known[1] if known else None

    def forget(self, key: Key) -> None:
        """Forget the state of one TaskQueue."""
        self._states.pop(key, None)

    def keep_only(self, keys: Collection[Key]) -> None:
        """Forget the states of all other TaskQueues."""
        for key in self._states.keys() - set(keys):
            del self._states[key]
