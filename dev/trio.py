"""A RabbitMQ cluster of three nodes for tests: they may be stopped, and it ends with its block.

Each node lives in a root and namespaces of its own, like a private broker. All listen on loopback.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev import brokers, packages, paths, processes
from dev.errors import DevError, NotReady
from dev.rabbitmq import Series

FORM_DEADLINE = 180.0
"""Seconds for the three to find each other."""

PORTS = (20000, 25000)
"""Below those that Linux takes for outgoing connections."""

JOIN = """\
cluster_formation.peer_discovery_backend = classic_config
cluster_formation.classic_config.nodes.1 = {first}
cluster_formation.classic_config.nodes.2 = {own}
"""

CONF = """\
queue_leader_locator = balanced
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 50MB
log.console.level = warning
"""

ERLANG_ARGUMENTS = "+S 1:1 +sbwt none"
"""One scheduler, which does not spin: a machine for tests has few cores."""


@dataclass
class Node:
    """One of the three."""

    name: str
    series: Series
    """With ports of its own."""

    scratch: Path
    cookie: str

    @property
    def record(self) -> dict[str, str]:
        """As brokers.json has it for a broker of one node."""
        return {
            "amqp": f"amqp://{brokers.USER}:{brokers.PASSWORD}@127.0.0.1:{self.series.amqp}/",
            "management": f"http://127.0.0.1:{self.series.management}",
            "user": brokers.USER,
            "password": brokers.PASSWORD,
        }

    @property
    def is_running(self) -> bool:
        """Whether its process is there; it may be booting."""
        return processes.remembered(self._process, state=self.scratch) is not None

    def start(self) -> None:
        """Start its process; returns before it is up. Its data went with the last one."""
        own = {
            "BROKER_NODE": self.name,
            "BROKER_FILES": str(self.scratch / "files"),
            "BROKER_COOKIE": self.cookie,
            "BROKER_ERLANG_ARGUMENTS": ERLANG_ARGUMENTS,
            "BROKER_DATA": str(self.scratch / "data"),
        }
        processes.start(
            self._process,
            brokers.start_command(self.series),
            state=self.scratch,
            environment=brokers.environment(self.series) | own,
        )

    def kill(self) -> None:
        """End its process, as a crash does. Its data stays for the next `start`."""
        started = processes.remembered(self._process, state=self.scratch)
        if started is None:
            return
        # The first process of the node's namespace takes all others with it.
        children = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
        inside = [found for child in children if (found := processes.identify(int(child)))]
        processes.end([*inside, started])

    def ctl(self, *words: str, timeout: float = 120.0) -> str:
        """Run rabbitmqctl in it."""
        place = self.scratch / f"{self._process}.pid"
        command = [str(brokers.CTL_SCRIPT), str(place), self.name, str(self.series.epmd), *words]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=timeout)
        if done.returncode:
            raise NotReady(f"rabbitmqctl {words[0]} on {self.name}: {done.stderr or done.stdout}")
        return done.stdout

    @property
    def _process(self) -> str:
        return f"node-{self.name.partition('@')[0]}"


@dataclass
class Trio:
    """Three nodes, and how they are reached."""

    nodes: tuple[Node, Node, Node]

    def move(self, queue: str, *, vhost: str, to: int) -> None:
        """Have a quorum queue led by the node of this number."""
        node = self.nodes[to]
        resource = f'rabbit_misc:r(<<"{vhost}">>, queue, <<"{queue}">>)'
        node.ctl(
            "eval",
            f"{{ok, Q}} = rabbit_amqqueue:lookup({resource}), "
            f"rabbit_quorum_queue:transfer_leadership(Q, '{node.name}').",
        )

    def restore(self) -> None:
        """Have all three run again. Raises NotReady."""
        self.wait_until_whole(restart=True)

    def wait_until_whole(self, *, deadline: float = FORM_DEADLINE, restart: bool = False) -> None:
        """Wait until each node serves and sees all three, and start those that have ended, if so
        asked. Raises NotReady."""
        end = time.monotonic() + deadline
        while not all(brokers.cluster_of(node.series) == self._names for node in self.nodes):
            for node in self.nodes:
                if restart and not node.is_running:
                    node.start()
            if time.monotonic() > end:
                raise NotReady(f"three nodes of RabbitMQ are no cluster after {deadline:g} s")
            time.sleep(0.3)

    @property
    def _names(self) -> set[str]:
        return {node.name for node in self.nodes}


@contextlib.contextmanager
def trio(series: Sequence[Series], *, scratch: Path, conf: str = "") -> Iterator[Trio]:
    """Run a cluster whose nodes are of these series; `scratch` is an empty folder.

    `conf` is added to each node's rabbitmq.conf.
    """
    packages.require_root("a cluster of brokers in roots of their own")
    with _lasting_ports(1 + 4 * len(series)) as ports:
        yield from _running(series, ports=ports, scratch=scratch, conf=conf)


def _running(
    series: Sequence[Series], *, ports: list[int], scratch: Path, conf: str
) -> Iterator[Trio]:
    epmd, cookie = ports.pop(), secrets.token_hex(16)
    names = [f"rabbit-{number}-{epmd}@localhost" for number in range(1, len(series) + 1)]
    nodes = []
    for name, kind in zip(names, series, strict=True):
        place = scratch / name
        (place / "files").mkdir(parents=True)
        (place / "data").mkdir()
        # The others join the first: three that start together may each wait for another.
        join = JOIN.format(first=names[0], own=name) if name != names[0] else ""
        (place / "files" / "more.conf").write_text(join + CONF + conf)
        keys = ("amqp", "management", "prometheus", "distribution")
        own: Mapping[str, Any] = dict(zip(keys, (ports.pop() for _ in keys), strict=True))
        moved = dataclasses.replace(kind, **own, epmd=epmd)
        nodes.append(Node(name, moved, place, cookie))
    first, second, third = nodes
    found = Trio((first, second, third))
    # Of its own: one that a node starts ends with that node, and the others are not found any more.
    processes.start("epmd", brokers.epmd_command(series[0], port=epmd), state=scratch)
    try:
        nodes[0].start()
        brokers.wait_until_up(nodes[0].series)
        for node in nodes[1:]:
            node.start()
        found.wait_until_whole()
        yield found
    finally:
        for node in nodes:
            node.kill()
        processes.stop("epmd", state=scratch)


@contextlib.contextmanager
def _lasting_ports(count: int) -> Iterator[list[int]]:
    """Ports of loopback for as long as the block lasts: no other cluster takes them, nor the kernel
    for a connection while a node that will listen there again is stopped."""
    for first in range(*PORTS, count):
        ports = list(range(first, first + count))
        with (paths.cache() / f"ports-{first}.lock").open("w") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if all(map(_is_free, ports)):
                yield ports
                return
    raise DevError(f"no {count} free ports in a row between {PORTS[0]} and {PORTS[1]}")


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
