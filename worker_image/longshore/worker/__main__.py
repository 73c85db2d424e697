"""`python -m longshore.worker`: the process that a worker's container runs.

Reads `LONGSHORE_WORKER_CONFIG` (JSON, see `longshore.contract.config`) and `LONGSHORE_AMQP_URL`.

Its exit codes are those of `longshore.worker.linux.exits`.
"""

import importlib
import os
import signal
import socket
import sys
import traceback

from longshore.contract.config import WorkerConfig
from longshore.contract.names import AMQP_URL_ENV, WORKER_CONFIG_ENV
from longshore.worker.linux import termination
from longshore.worker.linux.exits import Exit
from longshore.worker.linux.openfiles import OpenFiles

SHARED = (
    "asyncio",
    "longshore.worker.wire.control",
    "longshore.worker.wire.frames",
    "longshore.worker.limits",
    "longshore.worker.linux.prctl",
)
"""Modules that both the zygote and the parent need. They are imported once, before the fork, which
saves a sixth of a start's CPU; workers that start together on a node share its cores."""


def main() -> int:
    """Run a worker until it is told to end; return the exit code."""
    parent = os.getpid()
    try:
        return _main(parent)
    except Exception as error:
        if os.getpid() != parent:
            raise
        termination.tell_bug(error)
        traceback.print_exc()
        return Exit.CRASHED


def _main(parent: int) -> int:
    # Process 1 ignores a SIGTERM that it has no handler for, so let one wait until it has.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        config = read_config(os.environ.get(WORKER_CONFIG_ENV))
        url = read_url(os.environ.get(AMQP_URL_ENV))
    except ValueError as error:
        return _give_up(str(error), code=Exit.BAD_CONFIG)
    open_files = OpenFiles()
    try:
        open_files.raise_for(config.slots)
    except OSError as error:
        return _give_up(str(error), code=Exit.UNSUITABLE)
    for module in SHARED:
        importlib.import_module(module)
    # Fork before anything about the broker is imported, so that children carry none of it. The
    # handlers' modules load while the parent connects.
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        zygote = os.fork()
    except OSError as error:
        return _give_up(f"cannot create a process: {error}", code=Exit.UNSUITABLE)
    if zygote == 0:
        near.close()
        from longshore.worker.child.zygote import main as be_zygote

        be_zygote(far, config, open_files, parent=parent)
    far.close()
    from longshore.worker.parent.main import run

    return run(config, url=url, control=near, zygote=zygote)


def _give_up(why: str, *, code: int) -> int:
    termination.tell(why)
    print(why, file=sys.stderr)
    return code


def read_config(text: str | None) -> WorkerConfig:
    """Read the configuration. Raises ValueError, which names field and value in one line."""
    if not text:
        raise ValueError(f"{WORKER_CONFIG_ENV} is not set; it must hold the worker's configuration")
    try:
        return WorkerConfig.from_json(text)
    except ValueError as error:
        raise ValueError(f"{WORKER_CONFIG_ENV}: {error}") from None


def read_url(text: str | None) -> str:
    """Read the broker's address. Raises ValueError, which never contains a password."""
    if not text:
        raise ValueError(f"{AMQP_URL_ENV} is not set; it must hold an amqp:// or amqps:// address")
    scheme, separator, _ = text.partition("://")
    if not separator or scheme not in ("amqp", "amqps"):
        raise ValueError(f"{AMQP_URL_ENV} must begin with amqp:// or amqps://")
    return text


if __name__ == "__main__":
    sys.exit(main())
