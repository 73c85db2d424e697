"""What can go wrong, by what should be done about it. Each carries the reason for a condition."""

UNREACHABLE = "KubernetesUnreachable"
"""Reason of a call without an answer: whether it was carried out is not known."""


class OperatorError(Exception):
    """Something the operator cannot do now; `reason` is one word for programs."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Transient(OperatorError):
    """It may go away by itself: try again later."""


class Invalid(OperatorError):
    """Somebody must change something first."""
