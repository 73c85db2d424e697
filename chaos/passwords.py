"""Passwords of RabbitMQ's users, searched for wherever a run has left words that people read."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import unquote, urlsplit

from chaos.stage import NAMESPACE, PASSWORD, Stage
from dev import release
from dev.errors import CommandFailed

KINDS = "taskqueues,events,pods,deployments,replicasets,poddisruptionbudgets"
"""What the operator writes but Secrets, and where Kubernetes repeats what workers say."""


def shown(stage: Stage) -> list[str]:
    """Where a password stands, without the password."""
    known = {PASSWORD, *_of_users(stage)}
    return [place for place, text in _written(stage) if any(each in text for each in known)]


def _of_users(stage: Stage) -> Iterator[str]:
    """Of workers and producers: as they stand in an address, and as they are."""
    found = stage.kube.get("secrets", f"--namespace={NAMESPACE}")
    for secret in found["items"]:
        for value in secret.get("data", {}).values():
            password = urlsplit(base64.b64decode(value).decode(errors="replace")).password
            if password:
                yield password
                yield unquote(password)


def _written(stage: Stage) -> Iterator[tuple[str, str]]:
    yield "brokers", json.dumps(stage.kube.get("brokers"))
    for namespace in (NAMESPACE, release.NAMESPACE):
        where = f"--namespace={namespace}"
        yield f"objects of {namespace}", json.dumps(stage.kube.get(KINDS, where))
        for pod in stage.kube.get("pods", where)["items"]:
            name = pod["metadata"]["name"]
            with suppress(CommandFailed):  # it has no log yet, or is gone
                yield f"log of {namespace}/{name}", stage.kube.logs(name, namespace=namespace)
