"""A docker engine, where the machine has one that answers: official images instead of our own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from dev import commands
from dev.rabbitmq import Series

PYTHON_IMAGE = "python:3.13-slim"


@cache
def answers() -> bool:
    """Whether an engine is there; the client alone, without one, is common."""
    return commands.found("docker") and commands.succeeds(
        ["docker", "version", "--format", "{{.Server.Version}}"], timeout=5
    )


def build(
    reference: str,
    *,
    context: Path,
    arguments: Mapping[str, str],
    secrets: Mapping[str, Path],
) -> None:
    command = ["docker", "build", "--quiet"]
    for key, value in arguments.items():
        command += ["--build-arg", f"{key}={value}"]
    for key, file in secrets.items():
        command += ["--secret", f"id={key},src={file}"]
    commands.run_long(
        f"image {reference}",
        [*command, "--tag", reference, str(context)],
        environment={"DOCKER_BUILDKIT": "1"},
    )


def holds(reference: str) -> bool:
    return commands.succeeds(["docker", "image", "inspect", reference])


def save(reference: str, archive: Path) -> None:
    commands.output(["docker", "save", "--output", archive, reference])


def run_broker(
    name: str,
    *,
    series: Series,
    user: str,
    password: str,
    more_ports: Mapping[int, int] | None = None,
    volumes: Mapping[Path, str] | None = None,
) -> None:
    ports = {5672: series.amqp, 15672: series.management, 15692: series.prometheus}
    ports |= more_ports or {}
    command = ["docker", "run", "--detach", "--name", name, "--hostname", name]
    command += ["--tmpfs", "/var/lib/rabbitmq/mnesia"]
    command += [
        "--env",
        f"RABBITMQ_DEFAULT_USER={user}",
        "--env",
        f"RABBITMQ_DEFAULT_PASS={password}",
    ]
    for inside, outside in ports.items():
        command += ["--publish", f"127.0.0.1:{outside}:{inside}"]
    for source, target in (volumes or {}).items():
        command += ["--volume", f"{source}:{target}:ro"]
    commands.run_long(f"docker run {name}", [*command, series.official_image])


def remove(name: str) -> None:
    if commands.succeeds(["docker", "container", "inspect", name]):
        commands.output(["docker", "rm", "--force", "--volumes", name])
