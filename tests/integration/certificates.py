"""Certificate authorities and servers' certificates, made by openssl for one test."""

from __future__ import annotations

import subprocess
from pathlib import Path


def make(folder: Path, *, names: str) -> Path:
    """A folder with ca.pem, server.pem and server.key, the server's for `names` (DNS:…,IP:…)."""
    folder.mkdir(parents=True)
    _openssl(folder, "req", "-x509", *_NEW_KEY, "-keyout", "ca.key", "-out", "ca.pem",
             "-days", "2", "-subj", "/CN=test authority",
             "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
    _openssl(folder, "req", *_NEW_KEY, "-keyout", "server.key", "-out", "server.csr",
             "-subj", "/CN=rabbitmq")  # fmt: skip
    (folder / "names.cnf").write_text(f"subjectAltName={names}\n")
    _openssl(folder, "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
             "-CAcreateserial", "-days", "2", "-out", "server.pem",
             "-extfile", "names.cnf")  # fmt: skip
    return folder


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=60)
