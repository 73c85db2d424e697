"""A RabbitMQ for one test alone, with TLS: it may be broken and ends with its block."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev import brokers, docker, packages, processes
from dev.rabbitmq import Series

FILES = "/run/rabbitmq/files"


@dataclass(frozen=True)
class Private:
    """A running broker. Plain and TLS listeners, on loopback."""

    series: Series
    amqps: int
    https: int
    files: Path
    """The certificates."""

    ctl: tuple[str, ...]

    @property
    def record(self) -> dict[str, Any]:
        """How to reach it, as brokers.json has it of the others."""
        return brokers.record(self.series, ctl=self.ctl)

    def rabbitmqctl(self, *words: str) -> str:
        command = [*self.ctl, *words]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        return done.stdout


@contextlib.contextmanager
def private(series: Series, *, certificates: Path, scratch: Path) -> Iterator[Private]:
    """Run a broker of this series; `certificates` holds ca.pem, server.pem and server.key.

    `scratch` is an empty folder for what it needs while it runs.
    """
    names = ("amqp", "management", "prometheus", "distribution", "epmd", "amqps", "https")
    ports: dict[str, Any] = dict(zip(names, free_ports(len(names)), strict=True))
    amqps, https = ports.pop("amqps"), ports.pop("https")
    own = dataclasses.replace(series, **ports)
    files = scratch / "files"
    shutil.copytree(certificates, files)
    start = _in_docker if docker.answers() else _in_own_root
    with start(own, files=files, scratch=scratch, amqps=amqps, https=https) as ctl:
        brokers.wait_until_up(own)
        yield Private(own, amqps, https, certificates, tuple(ctl))


@contextlib.contextmanager
def _in_own_root(
    series: Series, *, files: Path, scratch: Path, amqps: int, https: int
) -> Iterator[list[str]]:
    packages.require_root("a broker in its own root")
    (files / "more.conf").write_text(_conf(amqps=f"127.0.0.1:{amqps}", https=https))
    name = "longshore-private"
    environment = brokers.environment(series) | {"BROKER_FILES": str(files)}
    started = processes.start(
        name, brokers.start_command(series), state=scratch, environment=environment
    )
    try:
        yield brokers.ctl(series, record=scratch / f"{name}.pid")
    finally:
        # The first process of the broker's namespace takes all others with it.
        children = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
        inside = [found for child in children if (found := processes.identify(int(child)))]
        processes.end([*inside, started])


@contextlib.contextmanager
def _in_docker(
    series: Series, *, files: Path, scratch: Path, amqps: int, https: int
) -> Iterator[list[str]]:
    (files / "more.conf").write_text(_conf(amqps="5671", https=15671))
    for file in files.iterdir():
        file.chmod(0o644)
    name = f"longshore-private-{series.amqp}"
    docker.run_broker(
        name,
        series=series,
        user=brokers.USER,
        password=brokers.PASSWORD,
        more_ports={5671: amqps, 15671: https},
        volumes={files: FILES, files / "more.conf": "/etc/rabbitmq/conf.d/90-more.conf"},
    )
    try:
        yield ["docker", "exec", name, "rabbitmqctl"]
    finally:
        docker.remove(name)


def _conf(*, amqps: str, https: int) -> str:
    return f"""\
listeners.ssl.1 = {amqps}
ssl_options.cacertfile = {FILES}/ca.pem
ssl_options.certfile = {FILES}/server.pem
ssl_options.keyfile = {FILES}/server.key
management.ssl.port = {https}
management.ssl.cacertfile = {FILES}/ca.pem
management.ssl.certfile = {FILES}/server.pem
management.ssl.keyfile = {FILES}/server.key
"""


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
