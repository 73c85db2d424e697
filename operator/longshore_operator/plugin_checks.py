"""The contracts of plug-ins, as checks that their authors can run in a test."""

from itertools import product

from longshore_operator.api.v1alpha1 import Scaling
from longshore_operator.core.scaling import Policy, Situation


def check_scaling_policy(policy: Policy, *, scaling: Scaling | None = None) -> None:
    """Raise AssertionError, naming the situation, if `policy` breaks its contract.

    A policy returns a whole number of 0 or more, with lines of at most 512 characters as the
    reason. It gives the same answer each time, never wants fewer workers for more waiting jobs, and
    wants at least one worker while a job waits.
    """
    scaling = scaling or Scaling(max=100)
    for held, slots, service, startup, arrivals in product(
        (0, 1, 50), (1, 8), (0.01, 30.0, 7200.0), (0.5, 120.0), (0.0, 100.0)
    ):
        before = -1
        for ready in (0, 1, 2, 10, 1000, 1_000_000):
            situation = Situation(
                scaling=scaling,
                ready=ready,
                held=held,
                running=held,
                workers=held,
                slots=slots,
                service=service,
                startup=startup,
                arrivals=arrivals,
            )
            before = _check(policy, situation, before=before)


def _check(policy: Policy, situation: Situation, *, before: int) -> int:
    wanted = policy(situation)
    is_int = isinstance(wanted.workers, int)
    _require(is_int, f"workers is {wanted.workers!r}, not an int", situation)
    _require(wanted.workers >= 0, f"workers is {wanted.workers}, less than 0", situation)
    _require(bool(wanted.why), "why is empty", situation)
    _require(all(len(line) <= 512 for line in wanted.why), "a line of why is too long", situation)
    _require(policy(situation) == wanted, "the second answer differs from the first", situation)
    _require(
        wanted.workers >= before,
        f"{wanted.workers} workers, but {before} for fewer waiting jobs",
        situation,
    )
    _require(wanted.workers > 0 or situation.ready == 0, "no worker for waiting jobs", situation)
    return wanted.workers


def _require(is_kept: bool, what: str, situation: Situation) -> None:
    if not is_kept:
        raise AssertionError(f"{what}, in {situation}")
