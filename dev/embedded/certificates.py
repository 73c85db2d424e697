"""A certificate authority of our own and what it signs: made anew for each cluster, in 0.2 s."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dev import commands
from dev.embedded import layout

DAYS = "365"
# openssl's default configuration would mark every certificate as an authority.
CONFIG = "[req]\ndistinguished_name = name\n[name]\n"
CURVE = ["-pkeyopt", "ec_paramgen_curve:prime256v1"]


@dataclass(frozen=True)
class Certificate:
    """One identity; `usage` is TLS's extended key usage."""

    name: str
    subject: str
    usage: str = "clientAuth"
    hosts: str = ""


API_HOSTS = ",".join(
    [
        "IP:127.0.0.1",
        f"IP:{layout.HOST}",
        f"IP:{layout.FIRST_SERVICE}",
        "DNS:localhost",
        "DNS:kubernetes",
        "DNS:kubernetes.default",
        "DNS:kubernetes.default.svc",
        f"DNS:kubernetes.default.svc.{layout.DOMAIN}",
    ]
)
CERTIFICATES = (
    Certificate("apiserver", "/CN=kube-apiserver", "serverAuth,clientAuth", API_HOSTS),
    Certificate(
        "kubelet", f"/CN={layout.NODE}", "serverAuth", f"IP:{layout.HOST},DNS:{layout.NODE}"
    ),
    Certificate("front-proxy", "/CN=front-proxy"),
    Certificate("admin", "/O=system:masters/CN=admin"),
    Certificate("controller-manager", "/CN=system:kube-controller-manager"),
    Certificate("scheduler", "/CN=system:kube-scheduler"),
    Certificate("proxy", "/CN=system:kube-proxy"),
    Certificate("node", f"/O=system:nodes/CN=system:node:{layout.NODE}"),
)


AUTHORITY = [
    # From 3.13 on Python keeps to RFC 5280: without key usage it trusts no authority.
    "basicConstraints=critical,CA:TRUE",
    "keyUsage=critical,keyCertSign,cRLSign",
    "subjectKeyIdentifier=hash",
]


def make(folder: Path) -> None:
    """Write ca, service-accounts and CERTIFICATES as NAME.crt and NAME.key."""
    folder.mkdir(parents=True)
    config = folder / "openssl.cnf"
    config.write_text(CONFIG)
    _request(folder, "ca", "/CN=longshore-dev", AUTHORITY, [])
    signed = ["-CA", str(folder / "ca.crt"), "-CAkey", str(folder / "ca.key")]
    for each in CERTIFICATES:
        extensions = [f"extendedKeyUsage={each.usage}", "authorityKeyIdentifier=keyid"]
        if each.hosts:
            extensions.append(f"subjectAltName={each.hosts}")
        _request(folder, each.name, each.subject, extensions, signed)
    # ecparam, not genpkey: the API server takes the public half out of this older form only.
    key = folder / "service-accounts.key"
    commands.output(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key])


def _request(
    folder: Path, name: str, subject: str, extensions: list[str], signed: list[str]
) -> None:
    command = ["openssl", "req", "-x509", "-config", str(folder / "openssl.cnf"), "-nodes"]
    command += ["-newkey", "ec", *CURVE, "-days", DAYS, "-subj", subject, *signed]
    for extension in extensions:
        command += ["-addext", extension]
    commands.output([*command, "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt"])
