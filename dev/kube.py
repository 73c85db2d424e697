"""The chosen cluster as tests and the demo use it: kubectl and helm with its kubeconfig."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from dev import paths
from dev.errors import CommandFailed, NotReady

Found = TypeVar("Found")


@dataclass(frozen=True)
class Kube:
    """Programs and credentials to reach one cluster; made by `make cluster-up`."""

    kubeconfig: str
    kubectl_program: str
    helm_program: str

    @classmethod
    def from_record(cls) -> Kube:
        """The cluster that is up. Raises NotReady when there is none."""
        if not paths.CLUSTER_RECORD.exists():
            raise NotReady("no cluster is up: run make cluster-up")
        record = json.loads(paths.CLUSTER_RECORD.read_text())
        return cls(record["kubeconfig"], record["kubectl"], record["helm"])

    def kubectl(self, *words: str, given: str | None = None, timeout: float = 120) -> str:
        """What kubectl prints; `given` is its standard input. Raises CommandFailed."""
        return self._run([self.kubectl_program, *words], given=given, timeout=timeout)

    def helm(self, *words: str, timeout: float = 300) -> str:
        return self._run([self.helm_program, *words], given=None, timeout=timeout)

    def apply(self, manifest: str) -> None:
        self.kubectl("apply", "--filename=-", given=manifest)

    def get(self, *words: str) -> dict[str, Any]:
        """One object, or a list of them, as kubectl's JSON."""
        return json.loads(self.kubectl("get", *words, "--output=json"))

    @contextmanager
    def forwarded(self, target: str, *, namespace: str, port: int) -> Iterator[int]:
        """A port on loopback that leads to `port` of a pod or service."""
        command = [self.kubectl_program, "port-forward", f"--namespace={namespace}", target]
        with subprocess.Popen(
            [*command, f":{port}", "--address=127.0.0.1"],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            try:
                said = process.stdout.readline()
                match = re.search(r"127\.0\.0\.1:(\d+)", said)
                if not match:
                    raise CommandFailed(f"kubectl port-forward {target}: {said.strip()}")
                yield int(match[1])
            finally:
                process.terminate()

    def _run(self, command: Sequence[str], *, given: str | None, timeout: float) -> str:
        done = subprocess.run(
            command,
            env=self._environment(),
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode:
            words = " ".join([Path(command[0]).name, *command[1:]])
            raise CommandFailed(f"{words}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": self.kubeconfig}


def wait_for(
    what: str, look: Callable[[], Found | None], *, seconds: float = 60, every: float = 0.3
) -> Found:
    """The first true answer of `look`. Raises NotReady, naming `what`, after `seconds`.

    A command that fails in `look` is an answer like another: a busy cluster refuses one at times.
    """
    deadline = time.monotonic() + seconds
    while True:
        found: object
        try:
            if answer := look():
                return answer
            found = answer
        except CommandFailed as error:
            found = error
        if time.monotonic() > deadline:
            raise NotReady(f"{what}: not so after {seconds:g} s; last seen: {found!r}")
        time.sleep(every)
