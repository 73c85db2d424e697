"""Children without a worker: `python -m tests.unit.worker.kid` runs each case in one of its own.

Reads a JSON object of cases on stdin. Most have `spoil`, statements of one job, and `probe`, an
expression for the jobs before and after it: what the probes gave is written, and whether the
process was another. A list is of jobs for one child after another, either statements or, with
`await` before them, those of an async handler: how each ended is written, null for a child that
told nothing. `results_of` has bodies of handlers, async ones with `await` before them: how each
ended is written, with what was told of its result.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from longshore.worker.child import run
from longshore.worker.wire.frames import (
    END,
    MAX_RECORD,
    Ended,
    JobFrame,
    Mark,
    Status,
    decode_record,
    send_job,
)


class Program:
    takes_job = False
    throws: tuple[type[Exception], ...] = ()
    retry_when = None

    def arguments(self, body: bytes) -> Any:
        return json.loads(body)

    def call(self, _job: Any, arguments: Any) -> Any:
        scope: dict[str, Any] = {"__name__": "job"}
        exec("import asyncio, contextvars, decimal, faulthandler, gc, io, json, locale, os", scope)
        exec("import signal, socket, sys, threading, time, warnings", scope)
        if "await" in arguments:
            exec("async def main():\n    " + arguments["await"], scope)
            return scope["main"]()
        if "return" in arguments:
            exec("def main():\n    " + arguments["return"], scope)
            return scope["main"]()
        if "spoil" in arguments:
            exec(arguments["spoil"], scope)
            return None
        found = repr(eval(arguments["probe"], scope))
        with open(arguments["answer"], "w") as file:
            json.dump([os.getpid(), found], file)
        return None


class Programs:
    def __getitem__(self, _handler: str) -> Program:
        return Program()


class Kid:
    """A child of ours, as the zygote makes them."""

    def __init__(self) -> None:
        self.near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.results, results = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.output, output = os.pipe()
        mark, zygote = Mark.create(), os.getpid()
        self.mark = Mark(mark)
        self.ticket = 0
        self.pid = os.fork()
        if not self.pid:
            self._be(run.Ends(jobs=far, results=results, output=output, mark=mark), zygote)
        far.close()
        results.close()
        os.close(output)
        os.close(mark)

    def _be(self, ends: run.Ends, zygote: int) -> NoReturn:
        self.near.close()
        self.results.close()
        os.close(self.output)
        run.main(ends, Programs(), None, queue="q", zygote=zygote)

    def do(self, **arguments: Any) -> Ended | None:
        """How the job ended; None when the child is gone."""
        self.ticket += 1
        body = json.dumps(arguments).encode()
        frame = JobFrame(self.ticket, body, f"j-{self.ticket}", "h", 1, 1, 0, 60.0)
        try:
            send_job(self.near, frame)
        except OSError:
            return None
        told = b""
        while len(told.partition(self.mark.boundary)[2]) < END.size:
            piece = os.read(self.output, 65_536)
            if not piece:
                return None
            told += piece
        ticket, seconds = END.unpack_from(told.partition(self.mark.boundary)[2])
        if ticket:
            return Ended(ticket, Status.SUCCEEDED, seconds)
        record = decode_record(self.results.recv(MAX_RECORD))
        assert isinstance(record, Ended)
        return record

    def end(self) -> None:
        self.near.close()
        self.results.close()
        os.close(self.output)
        os.waitpid(self.pid, 0)


def examine(case: dict[str, str], answer: str) -> dict[str, Any]:
    """What the probe gives before and after, and whether in one process."""
    answers = []
    kid = Kid()
    for number in range(2):
        job = kid.do(probe=case["probe"], answer=answer)
        if job is None and number:  # its successor
            kid.end()
            kid = Kid()
            job = kid.do(probe=case["probe"], answer=answer)
        if job is None or job.status is not Status.SUCCEEDED:
            return {"fault": f"the probe ended with {job}"}
        with open(answer) as file:
            answers.append(json.load(file))
        if not number:
            spoiled = kid.do(spoil=case["spoil"])
            if spoiled is None or spoiled.status is not Status.SUCCEEDED:
                return {"fault": f"the spoiler ended with {spoiled}"}
    kid.end()
    (first, before), (second, after) = answers
    return {"before": before, "after": after, "same_process": first == second}


def in_turn(jobs: list[str]) -> list[str | None]:
    """How each job ended."""
    kid, ends = Kid(), []
    for statements in jobs:
        words, _, rest = statements.partition(" ")
        ended = kid.do(**({"await": rest} if words == "await" else {"spoil": statements}))
        ends.append(ended and str(ended.status))
        if ended is None:
            kid.end()
            kid = Kid()
    kid.end()
    return ends


def results_of(jobs: list[str]) -> list[list[str | None]]:
    """How each job ended, its result, and why that is omitted."""
    kid, ends = Kid(), []
    for body in jobs:
        words, _, rest = body.partition(" ")
        ended = kid.do(**({"await": rest} if words == "await" else {"return": body}))
        assert ended, body
        ends.append([str(ended.status), ended.result, ended.result_omitted])
    kid.end()
    return ends


def found_by(case: Any, *, answer: str) -> Any:
    if isinstance(case, list):
        return in_turn(case)
    return results_of(case["results_of"]) if "results_of" in case else examine(case, answer)


def found_by_kids(cases: Mapping[str, Any], *, answer: Path) -> dict[str, Any]:
    """What a process of its own finds in `cases`; `answer` is a file for what probes give."""
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(answer)],
        input=json.dumps(cases),
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    answer = sys.argv[1]
    cases = json.load(sys.stdin)
    json.dump({name: found_by(case, answer=answer) for name, case in cases.items()}, sys.stdout)


if __name__ == "__main__":
    main()
