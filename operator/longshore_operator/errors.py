"""What can go wrong, by what should be done about it. Each carries the reason for a condition."""

from typing import Self

from longshore_operator.trouble import Trouble

UNREACHABLE = "KubernetesUnreachable"
"""Reason of a call without an answer: whether it was carried out is not known."""


class OperatorError(Exception):
    """Something the operator cannot do now; `reason` is one word for programs."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason

    @classmethod
    def of(cls, trouble: Trouble) -> Self:
        """The error that says what `trouble` says."""
        return cls(trouble.message, reason=trouble.reason)

    @property
    def trouble(self) -> Trouble:
        """What it says, for a condition."""
        return Trouble(reason=self.reason, message=str(self))


class Transient(OperatorError):
    """It may go away by itself: try again later."""


class Invalid(OperatorError):
    """Somebody must change something first."""
