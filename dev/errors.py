"""What can go wrong, each a single line a person can act on."""

from __future__ import annotations


class DevError(Exception):
    """Anything this tool reports as one line and exit code 1."""


class PrerequisiteMissing(DevError):
    """Something the machine lacks; the message holds the command that mends it."""


class CommandFailed(DevError):
    """A program ended badly; the message holds its last words."""


class NotReady(DevError):
    """Something didn't become ready within its deadline."""
