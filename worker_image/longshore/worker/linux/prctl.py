"""System calls of Linux and its C library that the standard library lacks."""

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)


def die_with(parent: int) -> None:
    """Have this process killed when its parent, the process `parent`, dies.

    Call it in the main thread of a process that the parent's main thread has forked: the kernel
    takes the death of the forking thread for the parent's.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the kernel knew the request
        os._exit(1)


def adopt_orphans() -> None:
    """Make this process the new parent of its descendants' orphans, as process 1 is anyway."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def give_back_memory() -> None:
    """Return to the kernel the memory that is free after the imports."""
    if hasattr(_libc, "malloc_trim"):  # only glibc has it
        _libc.malloc_trim(0)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), f"prctl({option}, {value})")
