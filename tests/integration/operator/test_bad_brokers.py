"""Each thing that can be wrong with a Broker is a condition of its own that says what to do."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dev.private import Private
from longshore import Client
from longshore_operator.app.sessions.session import Session
from longshore_operator.trouble import Trouble
from tests.integration import certificates
from tests.integration.operator.brokers import SECRET, keeping, outcome, registered
from tests.integration.operator.conftest import secret
from tests.integration.operator.fakes import Kubernetes
from tests.integration.operator.task_queues import Tenants, made, until
from tests.integration.relay import unanswered
from tests.integration.worker.workers import Bench, elsewhere

ADMINISTRATOR = {"username": "guest", "password": "guest"}


@pytest.fixture
def secure(own: Private) -> Private:
    """A broker of our own that speaks TLS as `localhost`, and as nothing else."""
    return own


def authority(secure: Private) -> str:
    return (secure.files / "ca.pem").read_text()


async def trouble(kubernetes: Kubernetes, **spec: Any) -> Trouble:
    """What is wrong with a Broker of this spec."""
    async with keeping(registered(**spec), kubernetes=kubernetes) as brokers:
        found = await outcome(brokers)
        assert isinstance(found, Trouble), "the Broker was connected"

        async def written() -> Any:
            return kubernetes.statuses

        # Whatever it is, the Broker's own status says the same.
        (status,) = (await until(written))[:1]
        assert status["conditions"][0]["reason"] == found.reason
        return found


@pytest.fixture(params=["4.0", "4.3"])
def record(request: pytest.FixtureRequest, brokers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """One of the brokers that all tests share."""
    return brokers[request.param]


def reaching(record: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The spec of a Broker that would be all right."""
    port = int(record["amqp"].rstrip("/").rpartition(":")[2])
    spec = {"host": "127.0.0.1", "port": port, "managementURL": record["management"]}
    return spec | {"vhost": f"op-{uuid.uuid4().hex[:12]}"} | changes


async def test_a_wrong_password(record: dict[str, Any]) -> None:
    kubernetes = Kubernetes(secrets={SECRET: {"username": "guest", "password": "wrong"}})

    found = await trouble(kubernetes, **reaching(record))

    assert found.reason == "AuthenticationFailed"
    assert "'guest'" in found.message


async def test_a_vhost_that_is_missing_and_must_not_be_made(record: dict[str, Any]) -> None:
    spec = reaching(record, createVhost=False)

    found = await trouble(Kubernetes(secrets={SECRET: secret(record)}), **spec)

    assert found.reason == "VhostNotFound"
    assert spec["vhost"] in found.message
    async with httpx.AsyncClient(auth=("guest", "guest")) as client:
        vhost = await client.get(f"{record['management']}/api/vhosts/{spec['vhost']}")
    assert vhost.status_code == 404


async def test_a_host_that_is_not_there(record: dict[str, Any]) -> None:
    kubernetes = Kubernetes(secrets={SECRET: secret(record)})

    found = await trouble(kubernetes, host="no-such-host.invalid")

    assert found.reason == "Unreachable"
    assert "no-such-host.invalid" in found.message


async def test_a_host_that_answers_no_handshake_does_not_hold_up_the_next_attempt(
    record: dict[str, Any],
) -> None:
    kubernetes = Kubernetes(secrets={SECRET: secret(record)})

    with unanswered() as port:
        async with asyncio.timeout(15):
            found = await trouble(
                kubernetes,
                **reaching(record, port=port, managementURL=f"http://127.0.0.1:{port}"),
            )

    assert found.reason == "Unreachable"


async def test_a_web_server_that_is_not_rabbitmq_is_no_unsupported_version(
    record: dict[str, Any],
) -> None:
    async def page(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = b"<html>Welcome</html>"
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(page, "127.0.0.1")
    async with server:
        port = server.sockets[0].getsockname()[1]
        kubernetes = Kubernetes(secrets={SECRET: secret(record)})
        found = await trouble(
            kubernetes, **reaching(record, managementURL=f"http://127.0.0.1:{port}")
        )

    assert found.reason == "ManagementFailed"
    assert "spec.managementURL" in found.message


async def test_a_user_that_http_cannot_name(record: dict[str, Any]) -> None:
    kubernetes = Kubernetes(secrets={SECRET: {"username": "team:admin", "password": "x"}})

    found = await trouble(kubernetes, **reaching(record))

    assert found.reason == "SecretInvalid"
    assert "'username'" in found.message


async def test_an_ipv6_address_without_brackets_is_reached(record: dict[str, Any]) -> None:
    kubernetes = Kubernetes(secrets={SECRET: secret(record)})

    found = await trouble(kubernetes, host="::1", port=9)

    assert found.reason == "Unreachable"
    assert "http://[::1]:15672" in found.message


async def test_a_heartbeat_from_before_it_was_bounded_is_held_within_what_amqp_can_say(
    record: dict[str, Any],
) -> None:
    kubernetes = Kubernetes(secrets={SECRET: secret(record)})
    spec = reaching(record, heartbeat="24h")
    async with keeping(registered(**spec), kubernetes=kubernetes) as brokers:
        found = await outcome(brokers)
        assert isinstance(found, Session), found
        where = {"auth": ("guest", "guest"), "base_url": record["management"]}
        async with httpx.AsyncClient(**where) as client:

            async def timeouts() -> list[int]:
                listed = (await client.get(f"/api/vhosts/{spec['vhost']}/connections")).json()
                return [each["timeout"] for each in listed if "timeout" in each]

            agreed = await until(timeouts, within=30)
            await client.delete(f"/api/vhosts/{spec['vhost']}")
    assert min(agreed) > 0


async def test_amqp_without_management(record: dict[str, Any]) -> None:
    kubernetes = Kubernetes(secrets={SECRET: secret(record)})
    spec = reaching(record, managementURL="http://127.0.0.1:9")

    found = await trouble(kubernetes, **spec)

    assert found.reason == "ManagementUnreachable"
    assert "rabbitmq_management" in found.message


async def test_a_user_who_may_only_read(record: dict[str, Any]) -> None:
    name = f"monitor-{uuid.uuid4().hex[:8]}"
    kubernetes = Kubernetes(secrets={SECRET: {"username": name, "password": "x"}})
    auth, management = ("guest", "guest"), record["management"]
    async with httpx.AsyncClient(auth=auth, base_url=management) as client:
        body = {"password": "x", "tags": "monitoring"}
        (await client.put(f"/api/users/{name}", json=body)).raise_for_status()
        try:
            found = await trouble(kubernetes, **reaching(record))
        finally:
            (await client.delete(f"/api/users/{name}")).raise_for_status()

    assert found.reason == "NotAdministrator"
    assert name in found.message
    assert "monitoring" in found.message


async def test_a_version_that_is_too_old() -> None:
    """The one case without a real broker: there is none so old here."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        nodes = b"/api/nodes" in asked
        body = json.dumps([] if nodes else {"rabbitmq_version": "3.13.7"}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        found = await trouble(
            Kubernetes(secrets={SECRET: ADMINISTRATOR}),
            host="127.0.0.1",
            managementURL=f"http://127.0.0.1:{port}",
        )

    assert found.reason == "VersionUnsupported"
    assert "3.13.7" in found.message
    assert "4.0" in found.message


@pytest.mark.parametrize(
    ("data", "reason", "words"),
    [
        (None, "SecretNotFound", "mq/rabbit"),
        ({"username": "guest"}, "SecretIncomplete", "mq/rabbit has no key 'password'"),
        (ADMINISTRATOR | {"port": "amqp"}, "SecretInvalid", "key 'port' is 'amqp'"),
    ],
)
async def test_a_secret_that_lacks_something(
    data: dict[str, str] | None, reason: str, words: str
) -> None:
    secrets = {SECRET: data} if data else {}

    found = await trouble(Kubernetes(secrets=secrets), host="localhost")

    assert found.reason == reason
    assert words in found.message


async def test_a_certificate_for_another_name(secure: Private) -> None:
    kubernetes = Kubernetes(secrets={SECRET: ADMINISTRATOR | {"ca.crt": authority(secure)}})

    found = await trouble(kubernetes, host="127.0.0.1", tls={}, **ports(secure, "127.0.0.1"))

    assert found.reason == "TlsNameMismatch"
    assert "127.0.0.1" in found.message


async def test_a_certificate_of_an_unknown_authority(secure: Private, tmp_path: Path) -> None:
    other = certificates.make(tmp_path / "other", names="DNS:localhost") / "ca.pem"
    kubernetes = Kubernetes(secrets={SECRET: ADMINISTRATOR | {"ca.crt": other.read_text()}})

    found = await trouble(kubernetes, host="localhost", tls={}, **ports(secure))

    assert found.reason == "TlsUnknownAuthority"
    assert "key 'ca.crt'" in found.message


async def test_an_amqp_port_whose_certificate_does_not_fit(secure: Private) -> None:
    """Management may be all right while AMQP is not."""
    kubernetes = Kubernetes(secrets={SECRET: ADMINISTRATOR | {"ca.crt": authority(secure)}})

    found = await trouble(kubernetes, host="127.0.0.1", tls={}, **ports(secure))

    assert found.reason == "TlsNameMismatch"
    assert found.message.startswith("AMQP at 127.0.0.1")


async def test_a_port_without_tls(secure: Private) -> None:
    kubernetes = Kubernetes(secrets={SECRET: ADMINISTRATOR | {"ca.crt": authority(secure)}})
    plain = ports(secure) | {"managementURL": f"https://localhost:{secure.series.management}"}

    found = await trouble(kubernetes, host="localhost", tls={}, **plain)

    assert found.reason == "TlsFailed"


async def test_an_authority_that_is_none(secure: Private) -> None:
    broken = "-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n"
    kubernetes = Kubernetes(secrets={SECRET: ADMINISTRATOR, ("mq", "ca"): {"root.pem": broken}})
    reference = {"namespace": "mq", "name": "ca", "key": "root.pem"}

    found = await trouble(
        kubernetes, host="localhost", tls={"caSecretRef": reference}, **ports(secure)
    )

    assert found.reason == "SecretInvalid"
    assert "Secret mq/ca, key 'root.pem'" in found.message


async def test_the_management_plugin_is_off(secure: Private) -> None:
    kubernetes = Kubernetes(secrets={SECRET: ADMINISTRATOR | {"ca.crt": authority(secure)}})
    secure.rabbitmqctl("eval", "application:stop(rabbitmq_management).")
    try:
        found = await trouble(kubernetes, host="localhost", tls={}, **ports(secure))
    finally:
        secure.rabbitmqctl("eval", "application:start(rabbitmq_management).")

    assert found.reason == "ManagementUnreachable"


@pytest.fixture
async def encrypted(secure: Private) -> AsyncIterator[Session]:
    """A session with a Broker of which only a Secret of the Cluster Operator's kind is known."""
    data = ADMINISTRATOR | {
        "default_user.conf": "default_user = guest\ndefault_pass = guest\n",
        "provider": "rabbitmq",
        "type": "rabbitmq",
        "host": "localhost",
        "port": str(secure.amqps),
        "connection_string": f"amqps://guest:guest@localhost:{secure.amqps}/",
    }
    kubernetes = Kubernetes(
        secrets={SECRET: data, ("mq", "ca"): {"ca.crt": authority(secure)}},
    )
    reference = {"namespace": "mq", "name": "ca"}
    broker = registered(
        tls={"caSecretRef": reference}, managementURL=f"https://localhost:{secure.https}"
    )
    async with keeping(broker, kubernetes=kubernetes) as brokers:
        found = await outcome(brokers)
        assert isinstance(found, Session), found
        yield found


async def test_operator_worker_and_producer_use_tls_where_the_broker_does(
    encrypted: Session, secure: Private, tmp_path: Path
) -> None:
    tenants, queue = Tenants(encrypted), made()
    await tenants.reconcile(queue)
    secrets = tenants.kubernetes.secrets
    as_worker = secrets["media", "transcode-worker"]
    bench = Bench(elsewhere(), queue.owner.queue, tmp_path)

    def work() -> None:
        bench.started(env=as_worker)
        with Client.from_env(secrets["media", "transcode-producer"]) as client:
            client.enqueue("media.transcode", "write", diary=bench.diary, text="encrypted")
            assert bench.wait_lines(1) == ["encrypted 1"]

    try:
        await asyncio.to_thread(work)
        listed = secure.rabbitmqctl("list_connections", "--silent", "ssl", "port")
    finally:
        assert bench.end() == []
    assert set(listed.split("\n")) - {""} == {f"true\t{secure.amqps}"}
    assert as_worker["LONGSHORE_AMQP_URL"].startswith("amqps://")


def ports(secure: Private, host: str = "localhost") -> dict[str, Any]:
    return {"port": secure.amqps, "managementURL": f"https://{host}:{secure.https}"}
