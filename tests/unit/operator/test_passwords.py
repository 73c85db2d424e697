"""Which password a user gets."""

import itertools

import pytest

from longshore.contract.names import AMQP_URL_ENV
from longshore_operator.core.access.passwords import (
    Credentials,
    Step,
    credentials_in,
    plan_password,
)

FIRST = Credentials(password="first")
MONDAY = Credentials(password="first", rotation="monday")
OTHER = Credentials(password="by-hand")
NEW = Credentials(password="new-1")

CASES: dict[
    str, tuple[Credentials | None, Credentials | None, bool, str, Step, Credentials]
] = {
    # what the Secret says, what is remembered, user there, rotation asked → step, credentials
    "all new": (None, None, False, "", Step.CREATE, NEW),
    "all new, with a rotation asked for": (
        None, None, False, "monday", Step.CREATE, Credentials(password="new-1", rotation="monday"),
    ),
    "as it was": (FIRST, FIRST, True, "", Step.KEEP, FIRST),
    "as it was before a restart": (FIRST, None, True, "", Step.KEEP, FIRST),
    "user deleted": (FIRST, FIRST, False, "", Step.KEEP, FIRST),
    "Secret deleted": (None, FIRST, True, "", Step.RESTORE, FIRST),
    "Secret deleted after a rotation": (None, MONDAY, True, "monday", Step.RESTORE, MONDAY),
    "Secret changed": (OTHER, FIRST, True, "", Step.RESTORE, FIRST),
    "Secret deleted during a restart": (
        None, None, True, "", Step.RENEW, Credentials(password="new-1", renewal="new-2"),
    ),
    "rotation": (
        FIRST, FIRST, True, "monday", Step.ROTATE,
        Credentials(password="new-1", rotation="monday"),
    ),
    "next rotation": (
        MONDAY, MONDAY, True, "tuesday", Step.ROTATE,
        Credentials(password="new-1", rotation="tuesday"),
    ),
    "rotation of a Secret that was deleted": (
        None, FIRST, True, "monday", Step.ROTATE,
        Credentials(password="new-1", rotation="monday"),
    ),
    "rotation cut short after the Secret": (MONDAY, None, True, "monday", Step.KEEP, MONDAY),
    "annotation taken away": (MONDAY, MONDAY, True, "", Step.KEEP, MONDAY),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_plan_for_a_user(case: str) -> None:
    found, known, is_user, rotation, step, credentials = CASES[case]
    numbers = itertools.count(1)

    outcome = plan_password(
        found=found,
        known=known,
        is_user=is_user,
        rotation=rotation,
        new_password=lambda: f"new-{next(numbers)}",
    )

    assert outcome == (step, credentials)


def test_what_a_secret_says_is_what_was_written_to_it() -> None:
    url = "amqp://user:p%2Fw@host:5672/v"
    written = Credentials(password="p/w", rotation="monday", renewal="x")

    assert credentials_in({AMQP_URL_ENV: url}, written.annotations(), key=AMQP_URL_ENV) == written


@pytest.mark.parametrize("url", ["", "amqp://", "amqp://user@host", "amqp://[", "amqp://u:@h"])
def test_a_secret_without_a_password_says_nothing(url: str) -> None:
    assert credentials_in({AMQP_URL_ENV: url}, {}, key=AMQP_URL_ENV) is None


def test_no_password_is_shown() -> None:
    assert "first" not in repr(MONDAY)
