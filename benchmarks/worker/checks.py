"""Each number that is asked of the worker, and whether it was reached."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Side(StrEnum):
    """On which side of the target a value is good; on the target itself it always is."""

    AT_LEAST = "≥"
    AT_MOST = "≤"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A target and what was measured. Unmeasured is never ok."""

    name: str
    side: Side
    target: float
    unit: str
    measured: float | None
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether the target is reached."""
        if self.measured is None:
            return False
        if self.side is Side.AT_LEAST:
            return self.measured >= self.target
        return self.measured <= self.target

    @property
    def aim(self) -> str:
        """The target in words, like `≤ 50 ms`."""
        return f"{self.side} {self.target:g} {self.unit}"

    def as_json(self) -> dict[str, object]:
        """One entry of `checks` in the results."""
        return {
            "name": self.name,
            "target": self.aim,
            "measured": self.measured,
            "ok": self.ok,
            **({"note": self.note} if self.note else {}),
        }


@dataclass(frozen=True, slots=True)
class Bound:
    """What is asked of one value out of a measurement."""

    name: str
    side: Side
    target: float
    unit: str
    value: Callable[[Any], float | None]
    """Takes the value out of the measurement; None where that part is not measured."""

    note: str = ""

    def check(self, found: object | None, *, fault: str = "") -> Check:
        """The check of `found`; None with `fault` where measuring failed."""
        return Check(
            name=self.name,
            side=self.side,
            target=self.target,
            unit=self.unit,
            measured=None if found is None else self.value(found),
            note=fault or self.note,
        )
