"""`longshore enqueue`: put jobs into a queue from a shell."""

from __future__ import annotations

import json
from typing import Any

import click

from longshore.cli import names
from longshore.client import DEFAULT_TIMEOUT, Client
from longshore.contract.names import AMQP_CA_ENV, AMQP_URL_ENV


@click.command(no_args_is_help=True)
@click.argument("queue", metavar=names.METAVAR)
@click.argument("handler")
@click.argument("arguments", nargs=-1, metavar="[KEY=TEXT | KEY:=JSON]...")
@click.option("-n", "--namespace", help="Namespace of the TaskQueue, unless its name has one.")
@click.option(
    "--delay", default="0s", show_default=True, help="Time before the job may start, e.g. 10m."
)
@click.option("--priority", default=0, show_default=True, help="0 to 31, higher first.")
@click.option("--expires-in", help="Time after which the job is not started any more, e.g. 1h.")
@click.option(
    "--count",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="Number of jobs to enqueue.",
)
@click.option(
    "--timeout",
    default=f"{DEFAULT_TIMEOUT:g}s",
    show_default=True,
    help="Time within which RabbitMQ must confirm each job.",
)
@click.option(
    "--url",
    envvar=AMQP_URL_ENV,
    show_envvar=True,
    required=True,
    help="amqp://user:password@host/vhost; prefer the variable, as ps shows arguments.",
)
@click.option("--ca", envvar=AMQP_CA_ENV, hidden=True)
def enqueue(
    queue: str,
    handler: str,
    arguments: tuple[str, ...],
    *,
    namespace: str | None,
    delay: str,
    priority: int,
    expires_in: str | None,
    count: int,
    timeout: str,
    url: str,
    ca: str | None,
) -> None:
    """Enqueue a job for HANDLER in a TaskQueue and print the job's id.

    \b
    longshore enqueue media.transcode transcode source=s3://in/1.mov threads:=4
    """
    given = parse_arguments(arguments)
    if namespace is not None:
        queue = ".".join((namespace, names.split(queue, namespace=namespace)[1]))
    with Client(url, timeout=timeout, authority=ca) as client:
        for _ in range(count):
            click.echo(
                client.send(
                    queue, handler, given, delay=delay, priority=priority, expires_in=expires_in
                )
            )


def parse_arguments(words: tuple[str, ...]) -> dict[str, Any]:
    """Return `key=text` and `key:=json` as keyword arguments of a job. Raises UsageError."""
    arguments: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        name = key.removesuffix(":")
        if not equals or not name:
            raise click.UsageError(f"{word!r} is not an argument; write KEY=TEXT or KEY:=JSON")
        if name in arguments:
            raise click.UsageError(f"argument {name!r} is given twice")
        arguments[name] = value if name == key else _json(word, value)
    return arguments


def _json(word: str, text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise click.UsageError(
            f"{word[:_MAX_SHOWN]!r}…: the value after ':=' is nested too deeply"
        ) from None
    except ValueError as error:
        raise click.UsageError(f"{word!r}: the value after ':=' is not JSON: {error}") from None


_MAX_SHOWN = 60
