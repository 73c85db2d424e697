"""Handlers of the e2e tests; mounted into the plain worker image from a ConfigMap."""

import time
from pathlib import Path

from longshore import Job, handler

TOLD = Path("/tmp/told")


@handler
def note(job: Job, text: str) -> None:
    """Say something; the test finds it in the pod's log under the job's id."""
    print(f"noted: {text}")


@handler
def measure(job: Job, text: str) -> None:
    print(f"measured: {len(text)}")


@handler
def hold(job: Job, seconds: float) -> None:
    """Keep a worker busy."""
    print("holding")
    time.sleep(seconds)
    print("held")


@handler
def hold_until_told(job: Job, most: float = 100.0) -> None:
    """Keep a worker busy until the test tells its pod."""
    print("holding")
    end = time.monotonic() + most
    while not TOLD.exists() and time.monotonic() < end:
        time.sleep(0.05)
    print("told to end")


@handler(max_attempts=1)
def fail(job: Job, message: str) -> None:
    raise ValueError(message)
