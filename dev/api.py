"""The few questions the tool itself asks a Kubernetes API server: no client library is needed."""

from __future__ import annotations

import json
import ssl
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Api:
    """An API server and who we are to it; `pki` has ca.crt, admin.crt and admin.key."""

    server: str
    pki: Path

    def get(self, path: str) -> dict[str, Any] | None:
        """The JSON at a path; None when there is no such thing or no answer."""
        return self._ask(path)

    def create(self, path: str, thing: dict[str, Any]) -> bool:
        return self._ask(path, json.dumps(thing).encode()) is not None

    def ready(self) -> bool:
        return self._ask("/readyz") is not None

    def _ask(self, path: str, body: bytes | None = None) -> dict[str, Any] | None:
        request = urllib.request.Request(
            self.server + path, data=body, headers={"Content-Type": "application/json"}
        )
        try:
            tls = ssl.create_default_context(cafile=self.pki / "ca.crt")
            tls.load_cert_chain(self.pki / "admin.crt", self.pki / "admin.key")
            opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls)
            )
            with opener.open(request, timeout=3) as response:
                answer = response.read()
        except OSError:
            return None
        return json.loads(answer) if answer.startswith(b"{") else {}


def serves(url: str) -> bool:
    """Whether a plain HTTP address answers with success."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2):
            return True
    except OSError:
        return False
