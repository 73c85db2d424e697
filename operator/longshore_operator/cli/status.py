"""`longshore status`: reads TaskQueues and shows them as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import click
import urllib3
from kubernetes import client, config
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from longshore_operator.api.v1alpha1 import GROUP, VERSION

REQUEST_TIMEOUT = 10
"""Seconds for one answer of the API server."""

_PLURAL = "taskqueues"
_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskQueues:
    """Reads the TaskQueues of a cluster, as often as needed."""

    api: client.CustomObjectsApi
    default_namespace: str

    @classmethod
    def connect(cls, *, context: str | None) -> Self:
        """Connect to the cluster that kubectl would use or, inside a pod, to its own cluster.

        Raises ClickException.
        """
        try:
            config.load_kube_config(context=context)
        except (config.ConfigException, OSError) as outside:
            try:
                config.load_incluster_config()
            except config.ConfigException:
                raise click.ClickException(f"no cluster is configured: {outside}") from None
        return cls(api=client.CustomObjectsApi(), default_namespace=_namespace_of(context))

    def read(self, *, namespace: str | None, name: str | None) -> list[Mapping[str, Any]]:
        """Return the TaskQueues of one namespace, or of all. Raises ClickException."""
        try:
            if name and namespace:
                return [self._one(namespace=namespace, name=name)]
            return self._all(namespace=namespace)
        except client.ApiException as error:
            raise click.ClickException(_explain(error, namespace=namespace, name=name)) from None
        except urllib3.exceptions.HTTPError as error:
            raise click.ClickException(
                f"the cluster at {self.api.api_client.configuration.host} does not answer: "
                f"{_root(error)}"
            ) from None

    def _one(self, *, namespace: str, name: str) -> Mapping[str, Any]:
        found = self.api.get_namespaced_custom_object(
            GROUP, VERSION, namespace, _PLURAL, name, _request_timeout=REQUEST_TIMEOUT
        )
        return cast("Mapping[str, Any]", found)

    def _all(self, *, namespace: str | None) -> list[Mapping[str, Any]]:
        found: Any
        if namespace:
            found = self.api.list_namespaced_custom_object(
                GROUP, VERSION, namespace, _PLURAL, _request_timeout=REQUEST_TIMEOUT
            )
        else:
            found = self.api.list_cluster_custom_object(
                GROUP, VERSION, _PLURAL, _request_timeout=REQUEST_TIMEOUT
            )
        return list(found["items"] or ())


def table(task_queues: Iterable[Mapping[str, Any]], *, namespace: str | None) -> RenderableType:
    """Render a row for each TaskQueue of `namespace` (None: of all), and below the table, each
    condition that does not hold."""
    rows = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("namespace", "name", "ready"):
        rows.add_column(title, no_wrap=True)
    for title in ("waiting", "running", "workers", "max", "done", "dead"):
        rows.add_column(title, justify="right", no_wrap=True)
    troubles: list[Text] = []
    seen = False
    for each in task_queues:
        seen = True
        rows.add_row(*_row(each))
        troubles += _troubles(each)
    if not seen:
        return Text(_nothing_in(namespace))
    return Group(rows, *troubles)


def _nothing_in(namespace: str | None) -> str:
    if namespace is None:
        return "There are no TaskQueues in any namespace."
    return (
        f"There are no TaskQueues in namespace {namespace!r}. "
        "--all-namespaces shows those of all namespaces."
    )


def _row(task_queue: Mapping[str, Any]) -> list[str | Text]:
    metadata, spec, status = (
        task_queue["metadata"],
        task_queue["spec"],
        task_queue.get("status", {}),
    )
    jobs, workers = status.get("jobs", {}), status.get("workers", {})
    dead = jobs.get("dead")
    return [
        metadata["namespace"],
        metadata["name"],
        _readiness(status.get("conditions", [])),
        _number(jobs.get("ready")),
        _number(jobs.get("running")),
        _number(workers.get("current")),
        _number(spec.get("scaling", {}).get("max")),
        _number(jobs.get("succeeded")),
        Text(_number(dead), style="red" if dead else ""),
    ]


def _readiness(conditions: Iterable[Mapping[str, Any]]) -> Text:
    state = next((each["status"] for each in conditions if each["type"] == "Ready"), "Unknown")
    return Text(state, style={"True": "green", "False": "red"}.get(state, "yellow"))


def _troubles(task_queue: Mapping[str, Any]) -> list[Text]:
    name = task_queue["metadata"]["name"]
    wrong = [
        each
        for each in task_queue.get("status", {}).get("conditions", [])
        if each["status"] != "True"
    ]
    # Ready only repeats the first of the others.
    others = [each for each in wrong if each["type"] != "Ready"]
    return [
        Text.assemble(
            (f"{name}: ", "bold"),
            (f"{each['type']} is {each['status']}", "yellow"),
            f" ({each['reason']}): {each['message']}",
        )
        for each in others or wrong
    ]


def _number(value: int | None) -> str:
    # Unknown is not zero.
    return "?" if value is None else str(value)


def _namespace_of(context: str | None) -> str:
    try:
        contexts, active = config.list_kube_config_contexts()
    except (config.ConfigException, OSError):
        return _OWN_NAMESPACE.read_text() if _OWN_NAMESPACE.exists() else "default"
    chosen = next((each for each in contexts if each["name"] == context), active)
    return str(chosen["context"].get("namespace", "default"))


def _explain(error: client.ApiException, *, namespace: str | None, name: str | None) -> str:
    if error.status == _NOT_FOUND and name:
        return f"TaskQueue {name!r} does not exist in namespace {namespace!r}"
    if error.status == _NOT_FOUND:
        return "TaskQueues are not installed in the cluster; install the chart longshore-crds"
    return f"the cluster refused the request: {error.status} {error.reason}"


def _root(error: BaseException) -> BaseException:
    reason = getattr(error, "reason", None)
    return _root(reason) if isinstance(reason, BaseException) else error
