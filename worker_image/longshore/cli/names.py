"""How commands name a TaskQueue: `NAMESPACE.NAME`, or `NAME` with `--namespace`."""

from __future__ import annotations

import click

from longshore.contract.names import queue_name

METAVAR = "[NAMESPACE.]NAME"


def split(task_queue: str, *, namespace: str | None) -> tuple[str | None, str]:
    """Return the namespace and the name of `task_queue`; the namespace is None if none is given.

    `namespace` is the value of `--namespace`. Raises UsageError for what cannot be a TaskQueue's
    name, and if the two name different namespaces. Neither part of a name can contain a dot.
    """
    before, dot, name = task_queue.rpartition(".")
    try:
        queue_name(namespace=before if dot else namespace or "any", name=name)
    except ValueError as error:
        raise click.UsageError(
            f"{task_queue!r} is not a TaskQueue; write NAME or NAMESPACE.NAME: {error}"
        ) from None
    if dot and namespace and namespace != before:
        raise click.UsageError(
            f"{task_queue!r} is in namespace {before!r}, but --namespace is {namespace!r}; "
            "omit one of them"
        )
    return before if dot else namespace, name
