"""The commands `longshore crds`, `status` and `explain`, which need the extra `operator`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click
from kubernetes import client
from rich.console import Console
from rich.live import Live

from longshore.cli import names
from longshore_operator.api import crdgen
from longshore_operator.cli.explain import explanation, read_history
from longshore_operator.cli.status import TaskQueues, table

WATCH_INTERVAL = 1.0


CRDS = Path("crds")
"""Where the repository keeps them."""


@click.command
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory into which one file per definition is written.",
)
@click.option(
    "--check",
    is_flag=True,
    help=f"Write nothing; exit with 1 if the files in --output (default: {CRDS}) differ.",
)
def crds(*, output: Path | None, check: bool) -> None:
    """Print the custom resource definitions, or write them into a directory.

    \b
    longshore crds | kubectl apply --server-side -f -
    """
    if check:
        _check(output or CRDS)
    elif output:
        output.mkdir(parents=True, exist_ok=True)
        for name, text in crdgen.render().items():
            (output / name).write_text(text)
    else:
        click.echo("---\n".join(crdgen.render().values()), nl=False)


def _check(directory: Path) -> None:
    drifted = [
        name
        for name, text in crdgen.render().items()
        if not (directory / name).is_file() or (directory / name).read_text() != text
    ]
    if drifted:
        raise click.ClickException(
            f"{', '.join(drifted)} in {directory} does not match this version; "
            f"run: longshore crds --output {directory}"
        )


@click.command
@click.argument("queue", required=False, metavar=f"[{names.METAVAR}]")
@click.option("-n", "--namespace", help="Default: the current context's namespace.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Show TaskQueues of all namespaces.")
@click.option("-w", "--watch", is_flag=True, help="Redraw every second until interrupted.")
@click.option("--context", help="Context in the kubeconfig.")
def status(
    *,
    queue: str | None,
    namespace: str | None,
    all_namespaces: bool,
    watch: bool,
    context: str | None,
) -> None:
    """Show TaskQueues: jobs, workers, and every condition that does not hold.

    Without a NAME, all TaskQueues of the namespace are shown.
    """
    if all_namespaces and (namespace or queue):
        raise click.UsageError(
            "--all-namespaces cannot be combined with --namespace or with a NAME"
        )
    name = None
    if queue is not None:
        namespace, name = names.split(queue, namespace=namespace)
    queues = TaskQueues.connect(context=context)
    where = None if all_namespaces else namespace or queues.default_namespace
    # A pipe has no width, and the default of 80 columns would truncate names.
    console = Console(width=None if sys.stdout.isatty() else 160)
    if not watch:
        console.print(table(queues.read(namespace=where, name=name), namespace=where))
        return
    with Live(console=console, auto_refresh=False) as live:
        try:
            while True:
                found = queues.read(namespace=where, name=name)
                live.update(table(found, namespace=where), refresh=True)
                time.sleep(WATCH_INTERVAL)
        except KeyboardInterrupt:
            return


@click.command
@click.argument("queue", metavar=names.METAVAR)
@click.option("-n", "--namespace", help="Default: the current context's namespace.")
@click.option("--context", help="Context in the kubeconfig.")
@click.option(
    "--operator",
    default="longshore-system/longshore",
    show_default=True,
    metavar="NAMESPACE/SERVICE",
    help="Service of the operator, which keeps the history.",
)
def explain(*, queue: str, namespace: str | None, context: str | None, operator: str) -> None:
    """Explain a TaskQueue's number of workers, and show its last hour."""
    namespace, name = names.split(queue, namespace=namespace)
    queues = TaskQueues.connect(context=context)
    where = namespace or queues.default_namespace
    (found,) = queues.read(namespace=where, name=name)
    history = read_history(client.CoreV1Api(), operator=operator, namespace=where, name=name)
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(explanation(found, history, now=time.time()))
