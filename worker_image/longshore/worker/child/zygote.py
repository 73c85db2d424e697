"""The zygote: imports the handlers' modules once, then forks children on request and reaps them.

It stays single-threaded and runs no jobs, so a fork takes about a millisecond and copies no lock
that is held.
"""

import _socket
import contextlib
import gc
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import NoReturn

from longshore.binding import BoundHandler
from longshore.contract.config import Isolation, WorkerConfig
from longshore.errors import HandlerError
from longshore.handler import discover_handlers
from longshore.middleware import Named, discover_middleware, load
from longshore.worker.child import capture, run, signals
from longshore.worker.child.chain import Chain
from longshore.worker.child.command import Commands
from longshore.worker.limits import HandlerLimits, limits_of
from longshore.worker.linux import prctl
from longshore.worker.linux.openfiles import OpenFiles
from longshore.worker.wire.control import (
    CommandUnusable,
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
from longshore.worker.wire.frames import Mark


def main(
    control: socket.socket, config: WorkerConfig, open_files: OpenFiles, *, parent: int
) -> NoReturn:
    """Run the zygote until the parent closes `control` or dies."""
    prctl.die_with(parent)
    zygote = os.getpid()
    os.setpgid(0, 0)  # only the parent handles Ctrl-C in a terminal
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
    # Our own imports hold no garbage worth collecting; handlers' modules may.
    gc.freeze()
    gc.enable()  # the image's entry point disables it
    programs, limits = _programs(control, config)
    chain = _chain(control, config)
    if os.getpid() != zygote:
        os._exit(0)  # a module has forked, and this is its copy
    _put_right()
    capture.flush()  # otherwise each child would repeat what the imports have printed
    # Excludes everything from collection, so that object headers stay shared with the children.
    gc.collect()
    gc.freeze()
    threads = threading.active_count()
    ready = Ready(handlers=limits, serves_any=bool(config.command), threads=threads)
    try:
        send_control(control, ready)
    except (BrokenPipeError, ConnectionResetError):
        os._exit(0)  # the worker ended while the modules were imported
    while received := receive_control(control):
        match received[0]:
            case Fork():
                _fork(control, programs, chain, open_files, queue=config.queue)
            case Reap(pid=pid):
                send_control(control, Reaped(pid=pid, status=_reap(pid)))
            case other:
                raise AssertionError(f"the parent never sends {other!r}")
    os._exit(0)


def _put_right() -> None:
    """Restore the state that forking and reaping rely on, which the modules may have changed.

    Children restore the rest themselves (`longshore.worker.child.state`).
    """
    signals.stop_alarm()  # otherwise an alarm meant for a handler would end the zygote
    # Directly, because a module may have replaced `signal.signal`.
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGALRM):
        signals.setsignal(number, int(signal.SIG_DFL))
    signals.setsignal(signal.SIGINT, int(signal.SIG_IGN))
    signals.unblock_all()


def _reap(pid: int) -> int | None:
    """Reap a dead child and return how it ended; None if a module's own code has reaped it."""
    try:
        return os.waitpid(pid, 0)[1]
    except ChildProcessError:
        return None


def _programs(
    control: socket.socket, config: WorkerConfig
) -> tuple[run.Programs, dict[str, HandlerLimits]]:
    """Return what runs jobs, and its limits."""
    if config.command:
        return _find_command(control, config.command), {}
    return _import_handlers(control, config)


def _find_command(control: socket.socket, words: Sequence[str]) -> Commands:
    try:
        return Commands(words)
    except HandlerError as error:
        send_control(control, CommandUnusable(error=str(error)[-_MAX_ERROR:]))
        os._exit(1)


def _import_handlers(
    control: socket.socket, config: WorkerConfig
) -> tuple[dict[str, BoundHandler], dict[str, HandlerLimits]]:
    bindings: dict[str, BoundHandler] = {}
    limits: dict[str, HandlerLimits] = {}
    module = ""
    # `python -m` searches the working directory; a console script does not.
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        for module in config.handlers:
            discover_handlers([module])
        for name, spec in discover_handlers(config.handlers).items():
            module = spec.function.__module__
            bindings[name] = BoundHandler(spec)
            if config.isolation is Isolation.FORK:
                bindings[name].prepare()  # otherwise each job would import pydantic anew
            limits[name] = limits_of(spec, config)
    except BaseException as error:  # SystemExit during an import must be reported too
        _give_up(control, f"handlers from {module}", error)
    return bindings, limits


def _chain(control: socket.socket, config: WorkerConfig) -> Chain | None:
    """Load the middleware.

    This happens after the handlers are loaded, so that a library that they have set up is not set
    up again.
    """
    middleware: list[Named] = []
    name = ""
    try:
        for name in config.middleware:
            middleware.append(load(name))
    except BaseException as error:
        _give_up(control, f"middleware {name}", error)
    middleware += discover_middleware(config.handlers)
    return Chain(middleware) if middleware else None


def _give_up(control: socket.socket, what: str, error: BaseException) -> NoReturn:
    lines = traceback.format_exception(error)
    send_control(
        control,
        ImportFailed(
            what=what,
            error="".join(traceback.format_exception_only(error)).strip()[-_MAX_ERROR:],
            traceback="".join(lines)[-_MAX_TRACEBACK:],
        ),
    )
    os._exit(1)


_MAX_ERROR = 2048
_MAX_TRACEBACK = 8192


def _fork(
    control: socket.socket,
    programs: run.Programs,
    chain: Chain | None,
    open_files: OpenFiles,
    *,
    queue: str,
) -> None:
    with contextlib.ExitStack() as ours:
        zygote = os.getpid()
        try:
            near, far = _pair(ours)
            results, results_far = _pair(ours)
            output, output_far = os.pipe()
            for descriptor in (output, output_far):
                ours.callback(os.close, descriptor)
            mark = Mark.create()
            ours.callback(os.close, mark)
            pid = os.fork()
        except OSError as error:  # too many files or processes, or no memory: it may be temporary
            send_control(control, ForkFailed(error=str(error)))
            return
        if pid == 0:
            # Ends that stayed open here would hide the death of the parent and of our siblings.
            for end in (control, near, results):
                end.close()
            os.close(output)
            open_files.restore()
            run.main(
                run.Ends(jobs=far, results=results_far, output=output_far, mark=mark),
                programs,
                chain,
                queue=queue,
                zygote=zygote,
            )
        try:
            pidfd = os.pidfd_open(pid)
        except OSError as error:
            os.kill(pid, signal.SIGKILL)
            _reap(pid)
            send_control(control, ForkFailed(error=str(error)))
            return
        ours.callback(os.close, pidfd)
        theirs = [near.fileno(), far.fileno(), results.fileno(), output, mark, pidfd]
        send_control(control, Forked(pid=pid), passed=theirs)


def _pair(ours: contextlib.ExitStack) -> tuple[_socket.socket, _socket.socket]:
    """Return two ends, closed with `ours`; their class is not one that a module may have replaced
    in `socket`."""
    pair = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    for end in pair:
        ours.callback(end.close)
    return pair
