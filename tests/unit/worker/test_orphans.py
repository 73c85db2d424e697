from __future__ import annotations

import os
import subprocess

from longshore.worker.child.orphans import PATIENCE, Orphans


def ended() -> subprocess.Popen[bytes]:
    process = subprocess.Popen(["sh", "-c", "exit 7"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    return process


def test_whoever_started_a_process_gets_its_exit_code() -> None:
    orphans = Orphans()
    process = ended()
    for now in (0.0, 1.0, PATIENCE - 0.1):
        orphans.bury(now=now)
    assert process.wait() == 7


def test_what_nobody_waits_for_is_buried() -> None:
    orphans = Orphans()
    process = ended()
    orphans.bury(now=0.0)
    orphans.bury(now=PATIENCE)
    assert process.wait() == 0  # what Popen says when somebody else has reaped
