"""Kubernetes objects as they are now, read from the API server without a process for each look.

Whoever waits for something looks several times a second, and each run of kubectl takes 0.1 s of
CPU time. One `kubectl proxy` knows how to reach the cluster, whatever its kubeconfig.
"""

from __future__ import annotations

import atexit
import functools
import http.client
import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from dev.errors import CommandFailed

CORE, APPS, LONGSHORE = "api/v1", "apis/apps/v1", "apis/longshore.dev/v1alpha1"
KINDS = {
    "broker": (LONGSHORE, "brokers"),
    "configmap": (CORE, "configmaps"),
    "deployment": (APPS, "deployments"),
    "event": (CORE, "events"),
    "namespace": (CORE, "namespaces"),
    "pdb": ("apis/policy/v1", "poddisruptionbudgets"),
    "pod": (CORE, "pods"),
    "secret": (CORE, "secrets"),
    "service": (CORE, "services"),
    "statefulset": (APPS, "statefulsets"),
    "taskqueue": (LONGSHORE, "taskqueues"),
    "tq": (LONGSHORE, "taskqueues"),
}
PARAMETERS = {"--selector": "labelSelector", "--field-selector": "fieldSelector"}
# It ends with us, however we end: its shell reads a pipe that only we can write to.
PROXY = ("sh", "-c", '"$@" & cat; kill $!', "proxy")
TIMEOUT = 30.0


def path_of(words: Sequence[str]) -> str | None:
    """Where `kubectl get WORDS` looks; None for what only kubectl can look up."""
    flags = dict(word.partition("=")[::2] for word in words if word.startswith("-"))
    names = [word for word in words if not word.startswith("-")]
    namespace = flags.pop("--namespace", "")
    if not 1 <= len(names) <= 2 or flags.keys() - PARAMETERS.keys():
        return None
    kind = KINDS.get(names[0]) or KINDS.get(names[0].removesuffix("s"))
    if not kind:
        return None
    group, plural = kind
    parts = [group, *(("namespaces", namespace) if namespace else ()), plural, *names[1:]]
    query = urlencode({PARAMETERS[flag]: value for flag, value in flags.items()})
    return "/" + "/".join(map(quote, parts)) + (f"?{query}" if query else "")


@dataclass(frozen=True)
class Reader:
    """Reads by a proxy on loopback."""

    port: int

    def object(self, path: str) -> dict[str, Any]:
        """An object or a list. Raises CommandFailed with what the API server says."""
        found: dict[str, Any] = json.loads(self.text(path))
        return found

    def text(self, path: str) -> str:
        """Any answer, logs for example. Raises CommandFailed with what the API server says."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise CommandFailed(f"GET {path}: {error!r}") from None
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise CommandFailed(f"GET {path}: {_refusal(body) or f'{answer.status}: {body}'}")
        return body


@functools.cache
def reader(kubectl: str, kubeconfig: str) -> Reader:
    """The one of this process for a cluster. Raises CommandFailed when there is no proxy."""
    process = subprocess.Popen(
        [*PROXY, kubectl, "proxy", "--port=0"],
        env={**os.environ, "KUBECONFIG": kubeconfig},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # Ctrl+C is for us; the tests' clean-up still looks.
    )
    assert process.stdin is not None
    assert process.stdout is not None
    said = process.stdout.readline()
    match = re.search(r"127\.0\.0\.1:(\d+)", said)
    if not match:
        process.communicate("")
        raise CommandFailed(f"kubectl proxy: {said.strip()}")
    atexit.register(process.communicate, "")
    return Reader(port=int(match[1]))


def _refusal(body: str) -> str:
    """As kubectl has it."""
    try:
        status = json.loads(body)
        return f"Error from server ({status['reason']}): {status['message']}"
    except (ValueError, KeyError, TypeError):
        return ""
