"""What the nemesis aims at: processes in pods, as this machine's root sees them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos.kinds import Queue
from chaos.stage import NAMESPACE, RABBITMQ, Stage
from dev import release
from dev.errors import CommandFailed
from longshore_operator.core.kubernetes.owner import TASK_QUEUE_LABEL

PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """One process in a pod; `inner` is its id within the pod."""

    pid: int
    inner: int
    parent: int
    name: str

    def send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


@dataclass(frozen=True)
class Worker:
    """A worker's pod with its processes."""

    pod: str
    queue: str
    parent: Process
    zygote: Process | None
    children: tuple[Process, ...]


def processes(pod: str) -> list[Process]:
    """All processes of a pod's containers; its name is their HOSTNAME."""
    mark = f"HOSTNAME={pod}".encode()
    found = []
    for entry in PROC.glob("[0-9]*"):
        with suppress(OSError, KeyError, ValueError):
            if mark not in (entry / "environ").read_bytes().split(b"\0"):
                continue
            status = dict(
                line.split(":\t", 1)
                for line in (entry / "status").read_text().splitlines()
                if ":\t" in line
            )
            found.append(
                Process(
                    pid=int(entry.name),
                    inner=int(status["NSpid"].split()[-1]),
                    parent=int(status["PPid"]),
                    name=status["Name"],
                )
            )
    return found


def workers(stage: Stage, *queues: str) -> list[Worker]:
    """Workers that run now, of these TaskQueues or of all; none while the API server is away."""
    found = []
    for pod in _pods(stage, NAMESPACE, f"--selector={TASK_QUEUE_LABEL}"):
        metadata = pod["metadata"]
        queue = metadata["labels"][TASK_QUEUE_LABEL]
        if (queues and queue not in queues) or metadata.get("deletionTimestamp"):
            continue
        inside = processes(metadata["name"])
        parent = next((each for each in inside if each.inner == 1), None)
        if parent is None:
            continue
        zygote = next((each for each in inside if each.parent == parent.pid), None)
        children = tuple(each for each in inside if zygote and each.parent == zygote.pid)
        found.append(Worker(metadata["name"], queue, parent, zygote, children))
    return found


def worker(stage: Stage, dice: random.Random, *queues: str) -> Worker | None:
    """One that is whole."""
    whole = [each for each in workers(stage, *queues) if each.zygote and each.children]
    return dice.choice(whole) if whole else None


def operator(stage: Stage) -> Process | None:
    """The operator's process."""
    for pod in _pods(stage, release.NAMESPACE, "--selector=app.kubernetes.io/component=operator"):
        for process in processes(pod["metadata"]["name"]):
            if process.inner == 1:
                return process
    return None


def node(number: int) -> list[Process]:
    """The processes of one node of RabbitMQ, without the shell that starts it again."""
    return [each for each in processes(f"rmq-{number}") if each.inner != 1]


def node_address(stage: Stage, number: int) -> str:
    found = stage.kube.get("pod", f"rmq-{number}", f"--namespace={RABBITMQ}")
    return str(found["status"]["podIP"])


def firewall(process: Process, *words: str) -> None:
    """iptables in the network namespace of a process."""
    command = ["nsenter", f"--net=/proc/{process.pid}/ns/net", "iptables", "--wait", *words]
    subprocess.run(command, check=True, capture_output=True, timeout=20)


def open_firewall(process: Process) -> None:
    """Drop nothing any more; where the process has ended, its rules are gone with the namespace."""
    try:
        firewall(process, "--flush")
    except subprocess.CalledProcessError:
        if Path(f"/proc/{process.pid}").exists():
            raise


def pod_names(stage: Stage, *queues: Queue) -> tuple[str, ...]:
    return tuple(each.pod for each in workers(stage, *queues))


def _pods(stage: Stage, namespace: str, selector: str) -> list[dict[str, Any]]:
    try:
        found = stage.kube.get("pods", f"--namespace={namespace}", selector)
    except CommandFailed:
        return []
    items: list[dict[str, Any]] = found["items"]
    return items
