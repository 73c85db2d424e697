"""Kubernetes' side of the benchmark: many TaskQueues made, watched, changed and deleted."""

import json
import os
import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from kubernetes import client, config

from benchmarks.worker.errors import BenchmarkError
from dev import paths
from dev.kube import Kube, wait_for

NAMESPACE = "longshore-bench"
BROKER = "longshore-bench"

_REQUESTS = re.compile(r"^apiserver_request_total\{(.*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_WRITES = frozenset({"POST", "PATCH", "APPLY", "DELETE"})
"""Not PUT, with which Kubernetes' own controllers write status, at their leisure; ours never do."""

_READY = 'conditions[?(@.type=="Ready")].status'
_OURS = frozenset(
    {"taskqueues", "brokers", "deployments", "secrets", "events", "pods", "poddisruptionbudgets"}
)


@contextmanager
def prepared(kube: Kube, *, broker: Mapping[str, Any], secret: Mapping[str, str]) -> Iterator[None]:
    """The CRDs, a namespace and a Broker without any operator; all deleted in the end."""
    if kube.get("deployments", "-A", "-l", "app.kubernetes.io/name=longshore")["items"]:
        raise BenchmarkError(
            "an operator is installed and would work on our TaskQueues too: "
            "helm uninstall longshore --namespace longshore-system"
        )
    kube.helm("upgrade", "--install", "longshore-crds", str(paths.REPO / "charts/longshore-crds"))
    reference = {"name": BROKER, "namespace": NAMESPACE}
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": reference, "stringData": secret},
        {
            "apiVersion": "longshore.dev/v1alpha1",
            "kind": "Broker",
            "metadata": {"name": BROKER},
            "spec": {"secretRef": reference, **broker},
        },
    ]
    kube.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    try:
        yield
    finally:
        kube.kubectl("delete", "broker", BROKER, "--ignore-not-found")
        _release(kube)
        kube.kubectl(
            "delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=300s", timeout=320
        )


def _release(kube: Kube) -> None:
    """Let TaskQueues go whose operator has ended with the benchmark."""
    api = client.CustomObjectsApi(config.new_client_from_config(kube.kubeconfig))
    kind = ("longshore.dev", "v1alpha1", NAMESPACE, "taskqueues")
    for each in kube.get("taskqueues", f"--namespace={NAMESPACE}")["items"]:
        body = {"metadata": {"finalizers": None}}
        api.patch_namespaced_custom_object(*kind, each["metadata"]["name"], body)


WORKERS = 4
"""The most that a TaskQueue may have."""


def name_of(number: int) -> str:
    """The TaskQueue of this number."""
    return f"q{number:05}"


def manifests(count: int) -> str:
    """So many TaskQueues that differ in nothing but their names."""
    spec = {
        "broker": {"name": BROKER},
        "timeLimit": {"hard": "10m"},
        "worker": {
            # Never pulled, as no node is like that.
            "image": "localhost/none:1",
            "handlers": ["jobs"],
            "podTemplate": {"spec": {"nodeSelector": {"longshore.dev/bench": "nowhere"}}},
        },
        "scaling": {"max": WORKERS},
    }
    items = [
        {
            "apiVersion": "longshore.dev/v1alpha1",
            "kind": "TaskQueue",
            "metadata": {"name": name_of(number), "namespace": NAMESPACE},
            "spec": spec,
        }
        for number in range(count)
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


@dataclass(slots=True)
class Watched:
    """The TaskQueues as a watch shows them."""

    ready: dict[str, bool] = field(default_factory=dict)
    """By name, whether condition Ready is True."""

    process: "subprocess.Popen[str] | None" = None

    def wait(self, what: str, *, count: int, ready: bool, seconds: float) -> float:
        """The moment, monotonic, at which there were `count`, all of them ready if asked."""

        def reached() -> float | None:
            states = list(self.ready.values())
            is_so = len(states) == count and (all(states) or not ready)
            return time.monotonic() if is_so else None

        return wait_for(what, reached, seconds=seconds, every=0.05)


@contextmanager
def watched(kube: Kube) -> Iterator[Watched]:
    """What becomes of the namespace's TaskQueues, as it happens."""
    columns = ("E:.type", "N:.object.metadata.name", f"R:.object.status.{_READY}")
    command = [
        kube.kubectl_program,
        "get",
        "taskqueues",
        f"--namespace={NAMESPACE}",
        "--watch",
        "--output-watch-events",
        "--no-headers",
        f"--output=custom-columns={','.join(columns)}",
    ]
    seen, end, anew = Watched(), threading.Event(), threading.Event()
    environment = {**os.environ, "KUBECONFIG": kube.kubeconfig}

    def follow() -> None:
        # The API server ends watches when it is hard pressed; a new one begins with all there is.
        while not end.is_set():
            with subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            ) as process:
                seen.process = process
                _follow(process.stdout or (), seen)
            anew.set()

    def compare() -> None:
        # What goes between two watches is told by none. The first look may come before the new
        # watch has begun, so there is a second.
        looks = 0
        while not end.wait(5.0):
            if anew.is_set():
                anew.clear()
                looks = 2
            if looks:
                looks -= 1
                names = kube.kubectl("get", "taskqueues", f"--namespace={NAMESPACE}", "-o=name")
                for name in seen.ready.keys() - {line.split("/")[1] for line in names.split()}:
                    seen.ready.pop(name, None)

    threads = [threading.Thread(target=each, daemon=True) for each in (follow, compare)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        end.set()
        if seen.process is not None:
            seen.process.terminate()
        for thread in threads:
            thread.join()


def _follow(lines: Iterable[str], seen: Watched) -> None:
    for line in lines:
        event, name, status = line.split()
        if event == "DELETED":
            seen.ready.pop(name, None)
        else:
            seen.ready[name] = status == "True"


def writes(kube: Kube) -> Counter[str]:
    """Writes that the API server has served, of the kinds of object that the operator touches."""
    found: Counter[str] = Counter()
    for labels, count in _REQUESTS.findall(kube.kubectl("get", "--raw", "/metrics")):
        fields = dict(_LABEL.findall(labels))
        if fields["verb"] in _WRITES and fields["resource"] in _OURS:
            found[f"{fields['verb']} {fields['resource']}"] += int(float(count))
    return found
