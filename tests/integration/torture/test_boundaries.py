"""What fails for one connection or over one delivery costs that one, and nothing beside it."""

from __future__ import annotations

import itertools
import json
import socket
import ssl
import struct
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from pika.adapters.blocking_connection import BlockingChannel

from longshore.contract.message import DEAD_REASON, ERROR, UNDECODABLE_HEADERS
from longshore.contract.names import AMQP_CA_ENV, AMQP_URL_ENV, JOBS_EXCHANGE
from longshore.contract.properties.reserved import DIRECT_REPLY_TO
from tests.fuzz import amqp
from tests.integration import certificates
from tests.integration.relay import Relay
from tests.integration.worker.workers import Bench, wait_for

pytestmark = pytest.mark.integration

PUBLISHING = b"\x00\x55\x00\x0a"
"""Class and method of confirm.select: only the connection that publishes says it."""


def test_a_broker_that_accepts_and_says_nothing_costs_no_job(bench: Bench, relay: Relay) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        worker = bench.started()
        path = bench.directory / "go"
        bench.enqueue("wait_for_file", diary=bench.diary, path=str(path))
        bench.wait_lines(1)
        relay.lead_to(silent.getsockname())
        relay.cut(containing=PUBLISHING)
        failed = worker.wait("connection-failed", connection="publish")
        assert "TCP is connected, but the broker has sent nothing" in failed["error"]
        path.touch()
        worker.wait("job-settled", outcome="succeeded")
        relay.lead_to(None)
        relay.cut()
    worker.wait("connection-opened", connection="publish", count=2, deadline=30)
    bench.enqueue("fail", diary=bench.diary)
    assert bench.dead()[0].headers[DEAD_REASON] == "max-attempts"
    assert worker.stop() == 0


def test_an_address_that_is_silent_does_not_keep_a_worker_from_the_other(bench: Bench) -> None:
    """Both names of loopback have one port: a broker answers at the second of them alone."""
    split = urlsplit(bench.broker.amqp)
    with ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = silent.getsockname()[1]
        listener = socket.create_server(("::1", port), family=socket.AF_INET6)
        relay = stack.enter_context(Relay(bench.broker.amqp, listener=listener))
        hosts = bench.directory / "sitecustomize.py"
        hosts.write_text(_TWO_ADDRESSES)
        host = f"{split.username}:{split.password}@two.test:{port}"
        url = split._replace(netloc=host).geturl()
        worker = bench.start(env={AMQP_URL_ENV: url})
        worker.wait("consumer-started")
        relay.cut()
        # The address that answered last comes first: well before the silent one has had its share.
        worker.wait("consumer-started", count=2, deadline=3)
        assert worker.stop() == 0


_TWO_ADDRESSES = """
import socket
real = socket.getaddrinfo
def look_up(host, port, *args, **options):
    if host == "two.test" and options.get("flags") != socket.AI_NUMERICHOST:
        both = [real(each, port, *args, **options) for each in ("127.0.0.1", "::1")]
        return both[0] + both[1]
    return real(host, port, *args, **options)
socket.getaddrinfo = look_up
"""


def test_a_connection_over_tls_is_made_by_address_and_checked_by_name(bench: Bench) -> None:
    made = certificates.make(bench.directory / "made", names="DNS:localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made / "server.pem", made / "server.key")
    with Relay(bench.broker.amqp, tls=context) as relay:
        url = relay.url.replace("amqp://", "amqps://").replace("127.0.0.1", "localhost")
        trusted = {AMQP_CA_ENV: (made / "ca.pem").read_text()}
        worker = bench.start(env={AMQP_URL_ENV: url, **trusted})
        worker.wait("consumer-started")
        bench.enqueue("write", diary=bench.diary)
        worker.wait("job-settled", outcome="succeeded")
        relay.cut()
        worker.wait("consumer-started", count=2)
        assert worker.stop() == 0
        other = bench.start(env={AMQP_URL_ENV: url.replace("localhost", "127.0.0.1"), **trusted})
        assert "CERTIFICATE_VERIFY_FAILED" in other.wait("connection-failed")["error"]
        assert other.stop() == 0


def test_a_broker_that_hangs_up_in_the_handshake_has_refused_nobody(bench: Bench) -> None:
    start = frame_of(
        struct.pack(">HHBB", 10, 10, 0, 9) + amqp.table_of() + b"\0\0\0\x05PLAIN\0\0\0\x05en_US"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        worker = bench.start(env={AMQP_URL_ENV: f"amqp://guest:guest@127.0.0.1:{port}/"})
        for _ in range(2):
            client, _ = server.accept()
            with client:
                client.recv(8)
                client.sendall(start)
                client.recv(1000)
    failed = worker.wait("connection-failed")
    assert failed["error"] == "the broker hung up after the login"
    assert worker.termination.read_text() == ""
    assert worker.stop() == 0


DEPTHS = (33, 200, 970, 3000)


def test_headers_of_any_depth_end_in_a_dead_letter_and_nowhere_else(bench: Bench) -> None:
    """970 levels of lists were read, and then too much for whatever looked at them."""
    worker = bench.started(slots=2, prefetch=8)
    date = b"T" + struct.pack(">Q", 1_700_000_000)
    cases = list(itertools.product(DEPTHS, "AF", ("write", "fail", "no.such")))
    for depth, kind, handler in cases:
        headers = amqp.table_of(n=amqp.nested(depth, kind=kind), when=date)
        bench.broker.channel.basic_publish(
            JOBS_EXCHANGE,
            bench.queue,
            b"{}",
            amqp.RawProperties(amqp.job_properties(handler.encode(), headers=headers)),
        )
    for _ in cases:
        properties, body = bench.dead()
        assert body == b"{}"
        assert properties.headers[DEAD_REASON] == "undecodable"
        assert "deep" in properties.headers[ERROR] or "cannot be read" in properties.headers[ERROR]
        assert date in properties.headers[UNDECODABLE_HEADERS]
    bench.enqueue("write", diary=bench.diary)
    worker.wait("job-settled", outcome="succeeded")
    assert not worker.events("consumer-lost")
    assert worker.stop() == 0
    assert bench.is_empty()


def test_a_reply_to_that_only_amqp_1_0_can_carry_costs_no_channel(
    bench: Bench, relay: Relay
) -> None:
    """With the `reply_to` that AMQP 1.0 lets through: RabbitMQ takes it from nobody else."""
    near_name = DIRECT_REPLY_TO.replace("reply-to", "reply-xx").encode()
    relay.rewrite = lambda data: data.replace(near_name, DIRECT_REPLY_TO.encode())
    worker = bench.started(retry={"initial_delay": 0.0, "max_attempts": 2})
    for handler in ("fail", "discard", "no.such"):
        bench.publish(
            json.dumps({"diary": bench.diary} if handler == "fail" else {}).encode(),
            type=handler,
            content_type="text/plain" if handler == "no.such" else "application/json",
            reply_to=near_name.decode(),
            message_id=handler,
        )
    letters = {bench.dead()[0].message_id for _ in range(3)}
    assert letters == {"fail", "discard", "no.such"}
    assert not worker.events("publisher-lost")
    assert worker.stop() == 0
    assert bench.is_empty()


def frame_of(payload: bytes, *, kind: int = 1, channel: int = 0) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def test_the_line_to_the_operator_survives_nonsense(bench: Bench) -> None:
    """Orders that cannot be read or obeyed cost neither the line nor the connection."""
    channel = bench.broker.channel
    ear = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(ear, "longshore.reports", bench.queue)
    worker = bench.started()
    report = wait_for(lambda: _report(channel, ear))
    for body in (b"", b"[" * 100_000, b'{"kind":"Cordon","id":"a","lease":1e400}', b"\xff"):
        channel.basic_publish("", report, body)
    worker.wait("order-unreadable", count=3)
    assert not worker.events("operator-line-lost")
    assert not worker.events("publisher-lost")
    assert worker.stop() == 0


def _report(channel: BlockingChannel, ear: str) -> str | None:
    _, properties, _ = channel.basic_get(ear, auto_ack=True)
    address: str | None = properties and properties.reply_to
    return address
