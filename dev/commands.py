"""Programs run to their end: quiet when they succeed, their last words when they don't."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from dev import progress
from dev.errors import CommandFailed, PrerequisiteMissing

LAST_WORDS = 600


def output(command: Sequence[str | Path], *, timeout: float | None = None) -> str:
    """What a program prints, stripped; raises CommandFailed."""
    try:
        done = subprocess.run(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        raise PrerequisiteMissing(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise CommandFailed(f"{_name(command)} did not end within {timeout:g} s") from None
    if done.returncode:
        raise CommandFailed(
            _failure(command, code=done.returncode, said=done.stderr or done.stdout)
        )
    return done.stdout.strip()


def succeeds(command: Sequence[str | Path], *, timeout: float = 10) -> bool:
    try:
        output(command, timeout=timeout)
    except (CommandFailed, PrerequisiteMissing):
        return False
    return True


def run_long(
    title: str,
    command: Sequence[str | Path],
    *,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run what takes long, showing the elapsed time; raises CommandFailed."""
    with tempfile.TemporaryFile("w+") as said, progress.step(title) as waiting:
        try:
            process = subprocess.Popen(
                [str(word) for word in command],
                cwd=directory,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )
        except FileNotFoundError:
            raise PrerequisiteMissing(f"{command[0]} is not installed") from None
        try:
            while process.poll() is None:
                try:
                    process.wait(timeout=1)
                except subprocess.TimeoutExpired:
                    waiting.tick()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        if process.returncode:
            said.seek(0)
            raise CommandFailed(_failure(command, code=process.returncode, said=said.read()))


def found(program: str) -> bool:
    return shutil.which(program) is not None


def _failure(command: Sequence[str | Path], *, code: int, said: str) -> str:
    return f"{_name(command)} ended with {code}: {said.strip()[-LAST_WORDS:] or 'no output'}"


def _name(command: Sequence[str | Path]) -> str:
    words = [Path(str(command[0])).name, *(str(word) for word in command[1:])]
    return " ".join(words)[:100]
