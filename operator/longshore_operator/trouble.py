"""Why something does not work, for programs and for people."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why something does not work: one word for programs, a sentence for people."""

    reason: str
    message: str
