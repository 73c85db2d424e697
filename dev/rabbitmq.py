"""The RabbitMQ series Longshore is tested with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Series:
    """A minor version, the Debian suite that has it, and the host's ports for a broker of it."""

    name: str
    suite: str
    amqp: int
    management: int
    prometheus: int
    distribution: int
    epmd: int

    @property
    def official_image(self) -> str:
        return f"rabbitmq:{self.name}-management"


def _series(name: str, *, suite: str, ports_from: int) -> Series:
    # Away from RabbitMQ's own ports, so that a broker of the developer's own may run as well.
    return Series(
        name=name,
        suite=suite,
        amqp=ports_from,
        management=ports_from + 1,
        prometheus=ports_from + 2,
        distribution=ports_from + 3,
        epmd=ports_from + 4,
    )


ALL = {
    each.name: each
    for each in (
        _series("4.0", suite="trixie", ports_from=25400),
        _series("4.3", suite="sid", ports_from=25430),
    )
}
