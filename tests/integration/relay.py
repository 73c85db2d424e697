"""A TCP proxy in front of RabbitMQ that breaks or goes silent when a test says so."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit


@contextmanager
def unanswered() -> Iterator[int]:
    """A port of loopback on which no TCP handshake is answered any more."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as server,
        # One waits to be accepted. There is no room for a second one, so Linux drops what it says.
        socket.create_connection(server.getsockname()),
    ):
        yield server.getsockname()[1]


class Cut(Exception):
    """A connection ends after `passed`: TCP loses the rest of a stream, and no part within it."""

    def __init__(self, passed: bytes) -> None:
        super().__init__(passed)
        self.passed = passed


class Relay:
    """Passes bytes on, both ways, over any number of connections."""

    def __init__(
        self,
        amqp: str,
        *,
        listener: socket.socket | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        split = urlsplit(amqp)
        self._target = self._broker = (split.hostname, split.port)
        self._tls = tls
        self._listener = listener or socket.create_server(("127.0.0.1", 0))
        host = f"{split.username}:{split.password}@127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = urlunsplit(split._replace(netloc=host))
        """The broker's address, by way of this proxy."""

        self.rewrite: Callable[[bytes], bytes] = bytes
        """What becomes of the broker's bytes: as many as there were, or `Cut` is raised."""

        self._break_next = threading.Event()
        self._pairs: list[_Pair] = []

    def stop_answers(self) -> None:
        """Hold back what the broker says on the connections that are open now."""
        for pair in self._pairs:
            pair.answers.clear()

    def hang(self) -> None:
        """Hold back everything on the connections that are open now, which stay open."""
        for pair in self._pairs:
            pair.answers.clear()
            pair.requests.clear()

    def lead_to(self, address: tuple[str, int] | None) -> None:
        """Have connections made from now on end at `address`; None is the broker again."""
        self._target = address or self._broker

    def cut(self, *, containing: bytes = b"") -> None:
        """Break the connections that are open now; those over which the client has said
        `containing` in its first words to the broker."""
        cut = [pair for pair in self._pairs if containing in pair.first_words]
        self._pairs = [pair for pair in self._pairs if pair not in cut]
        for pair in cut:
            pair.close()

    def break_at_next_byte(self) -> None:
        """Break the next connection over which the client says something."""
        self._break_next.set()

    def __enter__(self) -> Relay:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        _shut(self._listener)
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._tls:
                try:
                    client = self._tls.wrap_socket(client, server_side=True)
                except OSError:
                    continue
            pair = _Pair(client, socket.create_connection(self._target))
            self._pairs.append(pair)
            for copy in (self._copy_requests, self._copy_answers):
                threading.Thread(target=copy, args=(pair,), daemon=True).start()

    def _copy_requests(self, pair: _Pair) -> None:
        with suppress(OSError):
            while data := pair.client.recv(65536):
                if self._break_next.is_set():
                    self._break_next.clear()
                    break
                pair.requests.wait()
                pair.first_words += data[: 4096 - len(pair.first_words)]
                pair.broker.sendall(data)
        pair.close()

    def _copy_answers(self, pair: _Pair) -> None:
        with suppress(OSError):
            while data := pair.broker.recv(65536):
                pair.answers.wait()
                try:
                    passed = self.rewrite(data)
                except Cut as cut:
                    pair.client.sendall(cut.passed)
                    break
                pair.client.sendall(passed)
        # A broker that hangs closes nothing.
        pair.answers.wait()
        pair.close()


@dataclass
class _Pair:
    client: socket.socket
    broker: socket.socket
    requests: threading.Event = field(default_factory=threading.Event)
    answers: threading.Event = field(default_factory=threading.Event)
    first_words: bytes = b""

    def __post_init__(self) -> None:
        self.requests.set()
        self.answers.set()

    def close(self) -> None:
        self.requests.set()
        self.answers.set()
        _shut(self.client)
        _shut(self.broker)


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
