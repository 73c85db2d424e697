"""A zygote that dies, raises, hangs up or talks nonsense at any line, in real workers.

No broker is needed: children are forked before the worker is connected.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

from longshore.contract.names import AMQP_URL_ENV, TERMINATION_LOG_ENV, WORKER_CONFIG_ENV
from longshore.worker.linux.exits import Exit
from tests.fuzz.conftest import Seeds
from tests.integration.worker.workers import Worker, wait_for

ROOT = Path(__file__).parents[2]


ENDS = ("exit", "kill", "raise", "hang-up", "nonsense", "leave", "exit-with-heirs")

FURTHEST = 80
"""Lines that the zygote runs until it has forked two children and buried one, and some more."""

DEADLINE = 30.0

# The handlers' module of such a zygote: traces its own process, and ends it at some line.
SABOTAGE = """
import os, signal, subprocess, sys
from longshore import handler

end, left = os.environ["END"], int(os.environ["LINE"])
zygote = os.getpid()
told = os.environ["TOLD"]

@handler
def idle() -> None: ...

def control():
    frame = sys._getframe()
    while frame.f_code.co_name != "main" or "control" not in frame.f_locals:
        frame = frame.f_back
    return frame, frame.f_locals["control"]

main, socket = control()

def trace(frame, event, _):
    global left
    if os.getpid() != zygote or "worker/child/zygote.py" not in frame.f_code.co_filename:
        return None
    if event == "line":
        left -= 1
        if not left:
            open(told, "w").write(f"{frame.f_code.co_name}:{frame.f_lineno}")
            strike()
    return trace

def strike():
    if end == "exit":
        os._exit(7)
    elif end == "exit-with-heirs":  # who hold its end of the socket
        os.set_inheritable(socket.fileno(), True)
        subprocess.Popen(["sleep", "20"], close_fds=False)
        os._exit(7)
    elif end == "kill":
        os.kill(zygote, signal.SIGKILL)
    elif end == "raise":
        raise RuntimeError("sabotage")
    elif end == "leave":
        sys.exit(5)
    elif end == "hang-up":
        os.close(socket.fileno())
    else:
        socket.send(b"\\x00 nonsense")

# One of two children dies at once, so that one is buried too.
born = 0
def be_born():
    global born
    born += 1

os.register_at_fork(before=be_born, after_in_child=lambda: born == 1 and os._exit(1))
sys.settrace(trace)
frame = sys._getframe()
while frame:
    if "worker/child/zygote.py" in frame.f_code.co_filename:
        frame.f_trace = trace
    frame = frame.f_back
"""


def run(directory: Path, *, end: str, line: int) -> tuple[Worker, str]:
    """A worker whose zygote ends so at that line; where in the code, unless it got not so far."""
    directory.mkdir()
    (directory / "sabotage.py").write_text(SABOTAGE)
    out, err, told = directory / "out", directory / "err", directory / "told"
    termination = directory / "termination"
    termination.touch()
    settings = {
        "queue": "q",
        "handlers": ["sabotage"],
        "slots": 2,
        "hard_limit": "30s",
        "ack_timeout": "10m",
        "http_port": 0,
    }
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "longshore.worker"],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=directory,
            env={
                "PATH": "/usr/bin:/bin",
                "PYTHONPATH": ":".join((str(directory), *sys.path[1:])),
                WORKER_CONFIG_ENV: json.dumps(settings),
                AMQP_URL_ENV: "amqp://guest:guest@127.0.0.1:9/",
                TERMINATION_LOG_ENV: str(termination),
                "END": end,
                "LINE": str(line),
                "TOLD": str(told),
            },
        )
    worker = Worker(process, out, err, termination, "")
    try:
        wait_for(
            lambda: told.exists() or worker.events("child-died-idle") or process.poll() is not None,
            deadline=DEADLINE,
            why=worker.text,
        )
        if not told.exists():
            process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE)
    finally:
        process.kill()
        process.wait()
    return worker, told.read_text() if told.exists() else ""


def check(directory: Path, *, end: str, line: int) -> str:
    """Run such a worker and check how it ended; where its zygote did."""
    worker, where = run(directory, end=end, line=line)
    code, said = worker.process.returncode, worker.termination.read_text()
    context = f"{end} at line {line}, {where or 'not reached'}: {code}, {said!r}\n{worker.text()}"
    assert not worker.events("worker-crashed"), context
    if not where:
        assert code == 0, context
        return where
    assert code in (Exit.IMPORT_FAILED, Exit.ZYGOTE_GONE), context
    assert said.strip(), context
    assert worker.events("zygote-gone") or worker.events("import-failed"), context
    return where


def test_a_zygote_that_ends_at_any_line_never_hangs_its_worker(
    seeds: Seeds, tmp_path: Path
) -> None:
    for seed in seeds:
        dice = random.Random(seed)
        check(tmp_path / str(seed), end=dice.choice(ENDS), line=dice.randrange(1, FURTHEST))
