"""The zygote: imports the handlers' modules once, then forks children on request and buries them.

It stays single-threaded and runs no job, so a fork costs about a millisecond and copies no lock
that somebody holds.
"""

import gc
import os
import signal
import socket
import sys
import threading
import traceback
from typing import NoReturn

from longshore.binding import Binding
from longshore.contract.config import WorkerConfig
from longshore.errors import HandlerError, MiddlewareError
from longshore.handler import discover
from longshore.middleware import Named, load
from longshore.middleware import discover as discover_middleware
from longshore.worker import prctl
from longshore.worker.child import capture, run
from longshore.worker.child.chain import Chain
from longshore.worker.child.command import Commands
from longshore.worker.control import (
    Fork,
    Forked,
    ForkFailed,
    ImportFailed,
    Ready,
    Reap,
    Reaped,
    receive_control,
    send_control,
)
from longshore.worker.frames import Mark
from longshore.worker.limits import HandlerLimits, limits_of, limits_of_queue


def main(control: socket.socket, config: WorkerConfig, *, parent: int) -> NoReturn:
    """Be the zygote until the parent closes `control` or dies."""
    prctl.die_with(parent)
    os.setpgid(0, 0)  # Ctrl-C in a terminal is the parent's business
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
    programs, chain, ready = _load(control, config)
    capture.flush()  # else each child would say once more what the imports have printed
    # Moves everything out of the collector's sight: its headers stay shared with the children.
    gc.collect()
    gc.freeze()
    send_control(control, ready)
    while received := receive_control(control):
        match received[0]:
            case Fork():
                _fork(control, programs, chain, queue=config.queue)
            case Reap(pid=pid):
                _, status = os.waitpid(pid, 0)
                send_control(control, Reaped(pid=pid, status=status))
            case other:
                raise AssertionError(f"the parent never sends {other!r}")
    os._exit(0)


def _load(control: socket.socket, config: WorkerConfig) -> tuple[run.Programs, Chain | None, Ready]:
    """What runs jobs, what stands around them, and what the parent is told of it."""
    bindings: dict[str, Binding] = {}
    command: Commands | None = None
    limits: dict[str, HandlerLimits] = {}
    middleware: list[Named] = []
    what = ""
    # `python -m` looks into the working directory; a console script does not.
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        if config.command:
            what = "run the command"
            command = Commands(config.command)
        else:
            for module in config.handlers:
                what = f"import handlers from {module}"
                discover([module])
            for name, spec in discover(config.handlers).items():
                what = f"import handlers from {spec.function.__module__}"
                bindings[name] = Binding(spec)
                limits[name] = limits_of(spec, config)
        # Later than the handlers: libraries that these have set up are not set up again.
        for name in config.middleware:
            what = f"load middleware {name}"
            middleware.append(load(name))
        middleware += discover_middleware(config.handlers)
    except BaseException as error:  # SystemExit at import must be told too
        is_ours = isinstance(
            error, HandlerError | MiddlewareError
        )  # it says all that there is to say
        said = str(error) if is_ours else "".join(traceback.format_exception_only(error)).strip()
        lines = [] if is_ours else traceback.format_exception(error)
        send_control(
            control,
            ImportFailed(
                what=what,
                error=said[-_MAX_ERROR:],
                traceback="".join(lines)[-_MAX_TRACEBACK:],
            ),
        )
        os._exit(1)
    ready = Ready(
        handlers=limits,
        others=limits_of_queue(config) if command else None,
        threads=threading.active_count(),
    )
    return command or bindings, Chain(middleware) if middleware else None, ready


_MAX_ERROR = 2048
_MAX_TRACEBACK = 8192


def _fork(
    control: socket.socket, programs: run.Programs, chain: Chain | None, *, queue: str
) -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    results, results_far = socket.socketpair()
    output, output_far = os.pipe()
    mark = Mark.create()
    theirs = [near.fileno(), far.fileno(), results.fileno(), output, mark]
    zygote = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        send_control(control, ForkFailed(error=str(error)))
    else:
        if pid == 0:
            # Ends that stay open here would hide the parent's death and our siblings' from us.
            for end in (control, near, results):
                end.close()
            os.close(output)
            run.main(
                run.Ends(jobs=far, results=results_far, output=output_far, mark=mark),
                programs,
                chain,
                queue=queue,
                zygote=zygote,
            )
        pidfd = os.pidfd_open(pid)
        send_control(control, Forked(pid=pid), passed=[*theirs, pidfd])
        os.close(pidfd)
    for end in (near, far, results, results_far):
        end.close()
    for descriptor in (output, output_far, mark):
        os.close(descriptor)
