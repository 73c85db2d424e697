"""Entry of the worker's image: what must come before anything slow is imported.

It holds SIGTERM and SIGINT back, and the garbage collector, which finds nothing among imports.

Process 1 ignores a signal that it has no handler for, and `python -m longshore.worker` imports the
package, a tenth of a second, before its first line. Only the interpreter's own start, some 20 ms,
stays exposed. A module of its own beside the package, as a package comes first.
"""

import gc
import signal


def main() -> int:
    """Be a worker; the exit code is that of `longshore.worker.__main__`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    gc.disable()
    from longshore.worker.__main__ import main as work

    return work()


if __name__ == "__main__":
    raise SystemExit(main())
