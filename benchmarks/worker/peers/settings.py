"""What the harness tells a peer, read when the peer's program imports its app."""

import os

from benchmarks.worker.peers import variables

SLOTS = 2
URL = os.environ[variables.URL]
QUEUE = os.environ[variables.QUEUE]
QUEUE_ARGUMENTS = {"x-queue-type": os.environ[variables.QUEUE_TYPE]}
PREFETCH = int(os.environ[variables.PREFETCH])
PAYLOAD = os.environ[variables.PAYLOAD]
"""Argument of the one job that a peer's client sends as a sample."""
