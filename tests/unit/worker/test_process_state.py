"""Row by row, the table of docs/worker.md, "What one job may change for the next"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.worker.kid import found_by_kids

DOCUMENT = Path(__file__).parents[3] / "docs/worker.md"
TITLE = "## What one job may change for the next"

_HANDLER = "lambda *_: None"
_DISPOSITION = "signal.getsignal(signal.{0}) in (signal.SIG_IGN, signal.SIG_DFL)"

# By row of the table: what a job does, and what the jobs before and after it see.
CASES: dict[str, list[tuple[str, str]]] = {
    "descriptors 0, 1 and 2": [
        ("os.close(1)", "os.readlink('/proc/self/fd/1')"),
        ("os.dup2(os.open('/dev/null', os.O_WRONLY), 2)", "os.readlink('/proc/self/fd/2')"),
        ("os.close(0); os.open('/dev/zero', os.O_RDONLY)", "os.readlink('/proc/self/fd/0')"),
        ("os.set_blocking(1, False)", "os.get_blocking(1)"),
    ],
    "`sys.stdin`, `sys.stdout`, `sys.stderr`": [
        ("with sys.stdout as out: out.write('report')", "print('hello'), sys.stdout.closed"),
        ("sys.stdout.buffer.raw.close()", "print('hello'), sys.stdout.closed"),
        ("sys.stdout = io.TextIOWrapper(sys.stdout.detach())", "print('hello'), sys.stdout.errors"),
        ("sys.stderr = None", "print('hello', file=sys.stderr), sys.stderr.errors"),
        ("sys.stderr = sys.__stderr__ = io.StringIO()", "type(sys.stderr).__name__"),
        ("sys.stdout.reconfigure(encoding='ascii', errors='strict')", "print('\\u00e4')"),
        ("del sys.stdout, sys.stderr, sys.stdin", "print('hello'), sys.stderr.errors"),
        ("del sys.__stdout__, sys.__stderr__", "print('hello'), sys.stdout.errors"),
        ("sys.stdout = type('S', (), {'flush': lambda _: sys.exit(3)})()", "print('hello')"),
        ("sys.stdin.close()", "sys.stdin.read(), sys.stdin.mode, sys.stdout.mode"),
        ("sys.stdin = io.StringIO('left over')", "sys.stdin.read()"),
    ],
    "SIGALRM, SIGINT, SIGTERM, SIGPIPE and SIGXFSZ": [
        (f"signal.signal(signal.{name}, {what})", _DISPOSITION.format(name))
        for name in ("SIGALRM", "SIGINT", "SIGPIPE", "SIGXFSZ")
        for what in ("signal.SIG_IGN", "signal.SIG_DFL", _HANDLER)
    ]
    + [
        ("signal.signal(signal.SIGTERM, signal.SIG_IGN)", "signal.getsignal(signal.SIGTERM)"),
        (f"signal.signal(signal.SIGTERM, {_HANDLER})", "signal.getsignal(signal.SIGTERM)"),
    ],
    "another signal that is ignored": [
        (f"signal.signal(signal.{name}, signal.SIG_IGN)", f"signal.getsignal(signal.{name})")
        for name in ("SIGCHLD", "SIGHUP", "SIGUSR1", "SIGQUIT")
    ],
    "another signal with a handler": [
        (f"signal.signal(signal.SIGUSR1, {_HANDLER})", "callable(signal.getsignal(10))"),
    ],
    "blocked signals": [
        (
            "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))",
            "signal.pthread_sigmask(signal.SIG_BLOCK, ())",
        ),
    ],
    "`signal.alarm`, `ITIMER_REAL`": [
        (f"signal.signal(signal.SIGALRM, {_HANDLER}); signal.alarm(600)", "signal.alarm(0)"),
    ],
    "`ITIMER_VIRTUAL`, `ITIMER_PROF`": [
        (
            f"signal.signal(signal.SIGPROF, {_HANDLER}); signal.setitimer(signal.ITIMER_PROF, 600)",
            "signal.getitimer(signal.ITIMER_PROF)[0] > 0",
        ),
    ],
    "`faulthandler`": [
        ("faulthandler.disable()", "faulthandler.is_enabled()"),
        # A thread waits for the time.
        (
            "faulthandler.dump_traceback_later(600, exit=True)",
            "len(os.listdir('/proc/self/task'))",
        ),
    ],
    "working directory": [("os.chdir('/')", "os.getcwd()")],
    "umask": [("os.umask(0o777)", "os.umask(0o22)")],
    "limits (`RLIMIT_*`)": [
        (
            f"import resource; n = resource.{name}\n"
            "resource.setrlimit(n, (40, resource.getrlimit(n)[1]))",
            f"__import__('resource').getrlimit(__import__('resource').{name})",
        )
        for name in ("RLIMIT_NOFILE", "RLIMIT_CPU", "RLIMIT_CORE", "RLIMIT_NPROC")
    ],
    "priority": [("os.nice(3)", "os.getpriority(os.PRIO_PROCESS, 0)")],
    "process group": [("os.setpgid(0, os.getpgid(os.getppid()))", "os.getpgrp() == os.getpid()")],
    "effective user": [("os.seteuid(65534)", "os.geteuid()")],
    "tracing and profiling": [
        (f"sys.settrace({_HANDLER})", "sys.gettrace()"),
        (f"sys.setprofile({_HANDLER})", "sys.getprofile()"),
    ],
    "recursion limit": [("sys.setrecursionlimit(90)", "sys.getrecursionlimit()")],
    "garbage collector": [
        ("gc.disable()", "gc.isenabled()"),
        ("gc.set_threshold(1)", "gc.get_threshold()"),
    ],
    "a loop that is left running": [
        ("asyncio._set_running_loop(asyncio.new_event_loop())", "asyncio._get_running_loop()"),
    ],
    "entries taken out of `sys.path`": [
        ("sys.path.clear()", "len(sys.path) > 2"),
        ("sys.path = []", "len(sys.path) > 2"),
    ],
    "entries put into `sys.path`": [("sys.path.append('/more')", "'/more' in sys.path")],
    "context variables, and with them `decimal`'s context": [
        ("decimal.getcontext().prec = 3", "decimal.getcontext().prec"),
        (
            "sys.modules['job_vars'] = contextvars.ContextVar('v'); sys.modules['job_vars'].set(1)",
            "getattr(sys.modules.get('job_vars'), 'get', lambda _: 0)(0)",
        ),
    ],
    "environment": [("os.environ['LEFT'] = 'over'", "'LEFT' in os.environ")],
    "`warnings`, `locale`, default timeout of sockets": [
        ("warnings.simplefilter('error')", "warnings.filters[0][0] == 'error'"),
        ("socket.setdefaulttimeout(3)", "socket.getdefaulttimeout()"),
    ],
    "`sys.excepthook`, `threading.excepthook`": [
        ("sys.excepthook = print", "sys.excepthook is print"),
        ("threading.excepthook = print", "threading.excepthook is print"),
    ],
    "default event loop and policy": [
        (
            "asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())",
            "id(asyncio.get_event_loop_policy())",
        ),
    ],
    "functions of `time`, `json` and `os` that are replaced": [
        ("time.monotonic = lambda: 1.0", "time.monotonic() == 1.0"),
        ("time.monotonic = None", "time.monotonic is None"),
        ("os.write = os.fork = None", "os.write is None"),
    ],
    "CPU affinity, scheduling policy": [
        (
            "os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))",
            "os.sched_getscheduler(0)",
        ),
    ],
    "modules, globals, caches, threads": [
        ("sys.modules['left'] = sys", "'left' in sys.modules"),
    ],
}

PUT_RIGHT, ENDS, SHARED = "put right", "the process ends", "shared"


def documented() -> dict[str, str]:
    """What the table says becomes of each row."""
    section = DOCUMENT.read_text().partition(TITLE)[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return {row[0]: row[1] for row in rows[2:]}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What really became of each case."""
    cases = {
        f"{row} {number}": {"spoil": spoil, "probe": probe}
        for row, examples in CASES.items()
        for number, (spoil, probe) in enumerate(examples)
    }
    return found_by_kids(cases, answer=tmp_path_factory.mktemp("kid") / "answer")


def test_every_row_has_an_example_and_every_example_a_row() -> None:
    assert [*documented()] == [*CASES]


@pytest.mark.parametrize(
    ("row", "number"),
    [(row, number) for row, examples in CASES.items() for number in range(len(examples))],
)
def test_what_the_table_says_becomes_of_it(row: str, number: int, found: dict[str, Any]) -> None:
    case, fate = found[f"{row} {number}"], documented()[row]
    assert "fault" not in case, case
    changed = case["before"] != case["after"]
    assert fate in (PUT_RIGHT, ENDS, SHARED)
    assert changed is (fate == SHARED), case
    assert case["same_process"] is (fate != ENDS), case
