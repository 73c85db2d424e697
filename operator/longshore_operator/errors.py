"""The operator's errors, classed by what should be done about them. Each has a condition's
reason."""

from typing import Self

from longshore_operator.trouble import Trouble

UNREACHABLE = "KubernetesUnreachable"
"""Reason of a call without an answer: it is unknown whether it was carried out."""


class OperatorError(Exception):
    """Something that the operator cannot do now; `reason` is one word for programs."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason

    @classmethod
    def of(cls, trouble: Trouble) -> Self:
        """Return an error with the reason and the message of `trouble`."""
        return cls(trouble.message, reason=trouble.reason)

    @property
    def trouble(self) -> Trouble:
        """Its reason and its message, for a condition."""
        return Trouble(reason=self.reason, message=str(self))


class Transient(OperatorError):
    """The cause may disappear by itself: try again later."""


class Invalid(OperatorError):
    """Someone must change something first."""
