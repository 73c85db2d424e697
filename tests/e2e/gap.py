"""A relay before the API server whose watches can be interrupted for longer than it remembers."""

import asyncio
import base64
import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

EXPIRED = {
    "type": "ERROR",
    "object": {"kind": "Status", "status": "Failure", "reason": "Expired", "code": 410},
}


@dataclass(slots=True)
class Gap:
    """Interrupts all watches, and answers the next of each with 410, as an API server does that
    has forgotten what happened meanwhile."""

    upstream: aiohttp.ClientSession
    server: str
    _passing: asyncio.Event = field(default_factory=asyncio.Event)
    _cut: asyncio.Event = field(default_factory=asyncio.Event)
    _forgotten: set[str] = field(default_factory=set)
    _watched: set[str] = field(default_factory=set)

    def begin(self) -> None:
        """No watch sees anything from now on."""
        self._passing.clear()
        self._cut.set()
        self._forgotten = set(self._watched)

    def end(self) -> None:
        """Watches pass again, after a 410 each."""
        self._cut.clear()
        self._passing.set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        is_watch = "watch" in request.query
        if is_watch:
            await self._passing.wait()
            self._watched.add(request.path)
            if request.path in self._forgotten:
                self._forgotten.discard(request.path)
                return web.Response(text=json.dumps(EXPIRED) + "\n")
        body = await request.read()
        kept = ("accept", "content-type")
        async with self.upstream.request(
            request.method,
            f"{self.server}{request.raw_path}",
            data=body or None,
            headers={
                name: value for name, value in request.headers.items() if name.lower() in kept
            },
        ) as found:
            kind = {"content-type": found.headers.get("content-type", "application/json")}
            if not is_watch:
                return web.Response(status=found.status, body=await found.read(), headers=kind)
            response = web.StreamResponse(status=found.status, headers=kind)
            await response.prepare(request)
            await self._relay(found, response)
            return response

    async def _relay(self, found: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
        cut = asyncio.create_task(self._cut.wait())
        try:
            while True:
                reading = asyncio.create_task(found.content.readany())
                await asyncio.wait({reading, cut}, return_when=asyncio.FIRST_COMPLETED)
                if cut.done() or not (data := reading.result()):
                    reading.cancel()
                    return
                with suppress(ConnectionError):
                    await response.write(data)
        finally:
            cut.cancel()


@asynccontextmanager
async def relayed(kubeconfig: str, *, folder: Path) -> AsyncIterator[tuple[Gap, Path]]:
    """A relay on loopback to the cluster of `kubeconfig`, and a kubeconfig that leads to it."""
    found = _read(kubeconfig)
    cluster, user = found["clusters"][0]["cluster"], found["users"][0]["user"]
    tls = ssl.create_default_context(cafile=_file(cluster, "certificate-authority", folder))
    tls.load_cert_chain(
        _file(user, "client-certificate", folder), _file(user, "client-key", folder)
    )
    connector = aiohttp.TCPConnector(ssl=tls, limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as upstream:
        gap = Gap(upstream, cluster["server"])
        gap.end()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", gap.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        cluster.clear()
        cluster["server"] = f"http://{host}:{port}"
        user.clear()
        user["token"] = "the relay has the credentials"
        leading = folder / "kubeconfig"
        leading.write_text(yaml.safe_dump(found))
        try:
            yield gap, leading
        finally:
            gap.begin()
            await runner.cleanup()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _read(kubeconfig: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(Path(kubeconfig).read_text())
    return found


def _file(part: dict[str, str], name: str, folder: Path) -> str:
    if name in part:
        return part[name]
    path = folder / name
    path.write_bytes(base64.b64decode(part[f"{name}-data"]))
    return str(path)
