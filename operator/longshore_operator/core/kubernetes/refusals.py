"""Kubernetes' refusals to change the number of workers."""

from dataclasses import dataclass, replace

from longshore_operator.errors import UNREACHABLE, Invalid, OperatorError
from longshore_operator.trouble import Trouble

RETRY_AFTER = 10.0
"""Seconds until a refused number is requested again: the rule that forbids it may have changed."""

TOLD_AFTER = 3
"""Failures in a row of the API server that count as a refusal; a single one may be an accident."""

_UNSPOKEN = frozenset({UNREACHABLE, "Conflict", "NotFound"})
"""Reasons of calls that were not refused: they got no answer, or another client was faster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusals:
    """The refusals for one TaskQueue. Times are seconds of the caller's clock."""

    to: int | None = None
    """The number that was refused; of several, the one nearest to the current number."""

    before: int = 0
    """The number before the refused change."""

    until: float = 0.0
    """When it may be requested again."""

    failures: int = 0
    """Refusals since the last number that was granted."""

    is_final: bool = False
    """Whether Kubernetes refused it; otherwise the call failed."""

    said: str = ""

    @property
    def trouble(self) -> Trouble | None:
        """The refusal to report to users; None if there is none."""
        if self.to is None or not (self.is_final or self.failures >= TOLD_AFTER):
            return None
        if self.to == self.before:
            what = "the rollout strategy of the workers"
        elif self.to > self.before:
            what = f"more than {self.to - 1} workers"
        else:
            what = f"as few as {self.to} workers"
        return Trouble(reason="ScaleRefused", message=f"Kubernetes refuses {what}: {self.said}")

    def holds(self, *, to: int, before: int, now: float) -> bool:
        """Return whether a change to this number would be refused again."""
        if self.to is None or not self.is_final or now >= self.until:
            return False
        if self.to > self.before:
            return to >= self.to > before
        return to <= self.to and to <= before

    def keeps(self, *, before: int, now: float) -> bool:
        """Return whether fewer than `before` would be refused again."""
        is_shrink = self.to is not None and self.to < self.before
        return is_shrink and self.holds(to=before - 1, before=before, now=now)

    def most(self, to: int, *, before: int, now: float) -> int:
        """Return `to` or, if that would be refused, the highest number that would not."""
        if self.to is not None and self.holds(to=to, before=before, now=now):
            return self.to - 1
        return to

    def noted(self, error: OperatorError, *, to: int, before: int, now: float) -> "Refusals":
        """Return the refusals with `error` added, if it is one."""
        if error.reason in _UNSPOKEN:
            return self
        return Refusals(
            to=to,
            before=before,
            until=now + RETRY_AFTER,
            failures=self.failures + 1,
            is_final=isinstance(error, Invalid),
            said=str(error),
        )

    def granted(self, *, to: int, before: int) -> "Refusals":
        """Return the refusals after a number was granted: one beyond that number remains."""
        if self.to is None:
            return self
        if to == before:  # only the strategy was written
            return Refusals() if self.to == self.before else self
        is_growth, was_growth = to > before, self.to > self.before
        if is_growth == was_growth and (to < self.to if was_growth else to > self.to):
            return replace(self, before=to)
        return Refusals()

    def judged(self, *, wanted: int | None) -> "Refusals":
        """Return the refusals after a decision: one of a number that is no longer wanted ends."""
        if self.to is None or wanted is None:
            return self
        is_wanted = wanted >= self.to if self.to > self.before else wanted <= self.to
        return self if is_wanted else Refusals()
