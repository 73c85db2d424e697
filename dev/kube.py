"""The chosen cluster as tests and the demo use it: kubectl and helm with its kubeconfig."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from dev import paths, reader
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

    def kubectl(self, *words: str, given: str | None = None, timeout: float = 180) -> str:
        """What kubectl prints; `given` is its standard input. Raises CommandFailed."""
        return self._run([self.kubectl_program, *words], given=given, timeout=timeout)

    def helm(self, *words: str, timeout: float = 300) -> str:
        return self._run([self.helm_program, *words], given=None, timeout=timeout)

    def apply(self, manifest: str) -> None:
        self.kubectl("apply", "--filename=-", given=manifest)

    def get(self, *words: str) -> dict[str, Any]:
        """One object, or a list of them, as `kubectl get WORDS` has it. Raises CommandFailed."""
        if path := reader.path_of(words):
            return self._reader().object(path)
        found: dict[str, Any] = json.loads(self.kubectl("get", *words, "--output=json"))
        return found

    def logs(self, pod: str, *, namespace: str) -> str:
        """What the only container of a pod has printed so far. Raises CommandFailed."""
        return self._reader().text(f"/api/v1/namespaces/{namespace}/pods/{pod}/log")

    @contextmanager
    def followed(self, pod: str, *, namespace: str) -> Iterator[Callable[[], str]]:
        """What a pod has printed so far, to be asked for as often as one likes; to its end, also
        when the pod is gone by then."""
        command = [self.kubectl_program, "logs", "--follow", pod, f"--namespace={namespace}"]
        with (
            tempfile.NamedTemporaryFile("w+") as said,
            subprocess.Popen(
                command,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            ) as process,
        ):
            try:
                yield lambda: Path(said.name).read_text()
            finally:
                process.terminate()

    def _reader(self) -> reader.Reader:
        return reader.reader(self.kubectl_program, self.kubeconfig)

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
