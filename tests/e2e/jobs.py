"""Handlers of the e2e tests; mounted into the plain worker image from a ConfigMap."""

import time

from longshore import Job, handler


@handler
def note(job: Job, text: str) -> None:
    """Say something; the test finds it in the pod's log under the job's id."""
    print(f"noted: {text}")


@handler
def hold(job: Job, seconds: float) -> None:
    """Keep a worker busy."""
    print("holding")
    time.sleep(seconds)
    print("held")


@handler(max_attempts=1)
def fail(job: Job, message: str) -> None:
    raise ValueError(message)
