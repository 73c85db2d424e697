"""python3 -m dev: the development cluster, its images, and brokers on loopback."""

from __future__ import annotations

import argparse
import json
import sys

from dev import brokers, clusters, images, rabbitmq
from dev.errors import DevError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; answers go to stdout as JSON, progress and errors to stderr."""
    chosen = _parser().parse_args(arguments)
    try:
        answer = chosen.run(chosen)
    except DevError as error:
        print(f"dev: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if answer is not None:
        print(json.dumps(answer, indent=2))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m dev", description=__doc__)
    parser.set_defaults(run=lambda _: parser.print_help())
    subjects = parser.add_subparsers(title="subjects")
    _add_cluster(subjects.add_parser("cluster", help="a Kubernetes to try things on"))
    _add_brokers(subjects.add_parser("brokers", help="RabbitMQ on this machine's loopback"))
    command = subjects.add_parser("images", help="build images and load them into the cluster")
    command.add_argument("names", nargs="*", metavar="NAME", help="default: all that can be built")
    command.set_defaults(run=lambda chosen: images.up(chosen.names))
    return parser


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(required=True, metavar="up|down|status")
    verbs.add_parser("up").set_defaults(run=lambda _: clusters.up())
    verbs.add_parser("down").set_defaults(run=lambda _: clusters.down())
    verbs.add_parser("status").set_defaults(run=lambda _: clusters.status())


def _add_brokers(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(required=True, metavar="up|down|status")
    for verb, run in (("up", brokers.up), ("down", brokers.down)):
        command = verbs.add_parser(verb)
        command.add_argument("series", nargs="*", help=f"default: {' '.join(rabbitmq.ALL)}")
        command.set_defaults(run=lambda chosen, run=run: run(chosen.series))
    verbs.add_parser("status").set_defaults(run=lambda _: brokers.status())
