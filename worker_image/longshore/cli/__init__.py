"""The command `longshore`. Each subcommand is imported only when it is called."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

import click

from longshore.errors import LongshoreError

COMMANDS = "longshore.commands"
"""Entry point group by which other packages add subcommands."""

_OWN = {
    "enqueue": "longshore.cli.enqueue:enqueue",
    "worker": "longshore.cli.worker:worker",
}


class CommandGroup(click.Group):
    """Finds subcommands by name: Longshore's own, and those of entry points."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return sorted({*_OWN, *(each.name for each in entry_points(group=COMMANDS))})

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name in _OWN:
            module, _, attribute = _OWN[name].partition(":")
            command: click.Command = getattr(import_module(module), attribute)
            return command
        for found in entry_points(group=COMMANDS, name=name):
            return _load(found)
        return None


def _load(found: EntryPoint) -> click.Command:
    try:
        command = found.load()
    except ModuleNotFoundError as error:
        return _unavailable(
            found.name, f"it needs the package {error.name!r}; pip install 'longshore[operator]'"
        )
    except (ImportError, AttributeError) as error:
        return _unavailable(
            found.name, f"its entry point {found.value!r} cannot be loaded: {error}"
        )
    if not isinstance(command, click.Command):
        return _unavailable(found.name, f"its entry point {found.value!r} is not a click command")
    return command


def _unavailable(name: str, reason: str) -> click.Command:
    def refuse() -> None:
        raise click.ClickException(f"command {name!r} is unavailable: {reason}")

    # It must fail because of what is missing, whatever arguments are given.
    return click.Command(
        name,
        callback=refuse,
        help=f"Unavailable: {reason}",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="longshore", message="%(prog)s %(version)s")
def longshore() -> None:
    """Durable work queues on Kubernetes and RabbitMQ."""


def main() -> None:
    """Run the command line. The exit code is 1 after an error, which is one line on stderr, and 2
    if the command line is invalid."""
    try:
        longshore(prog_name="longshore")
    except LongshoreError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
