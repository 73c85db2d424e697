"""Decides which password a user of RabbitMQ has, and where it has to be written."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from longshore_operator.core.access.credentials import password_in

RENEWAL_ANNOTATION = "longshore.dev/credentials-renewed"
"""Annotation of worker pods and Secrets: marks a password that was created because the old one was
lost, so that pods with the old one are replaced."""

ROTATION_ANNOTATION = "longshore.dev/credentials-rotated"
"""Annotation of worker pods and Secrets: the rotation that their password belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A user's password and its origin. Both marks are empty for a first password."""

    password: str = field(repr=False)
    rotation: str = ""
    renewal: str = ""

    def annotations(self) -> dict[str, str]:
        """Return the marks, for the Secret and for the pods that read it."""
        marks = {ROTATION_ANNOTATION: self.rotation, RENEWAL_ANNOTATION: self.renewal}
        return {name: value for name, value in marks.items() if value}


class Step(Enum):
    """What happens to a password."""

    KEEP = "the Secret's password stays"
    RESTORE = "the Secret gets back the password that it had"
    ROTATE = "a new password was requested"
    RENEW = "the password is lost, and running producers may have it"
    CREATE = "there is no such user yet"


def credentials_in(
    data: Mapping[str, str], annotations: Mapping[str, str], *, key: str
) -> Credentials | None:
    """Return the credentials in a Secret with an address under `key`; None if it has no
    password."""
    password = password_in(data.get(key, ""))
    if not password:
        return None
    return Credentials(
        password=password,
        rotation=annotations.get(ROTATION_ANNOTATION, ""),
        renewal=annotations.get(RENEWAL_ANNOTATION, ""),
    )


def plan_password(
    *,
    found: Credentials | None,
    known: Credentials | None,
    is_user: bool,
    rotation: str,
    new_password: Callable[[], str],
) -> tuple[Step, Credentials]:
    """Return the password that a user should have, and what happens to it.

    `found` is the password in its Secret, `known` the one last seen in both Secret and RabbitMQ,
    and `is_user` tells whether RabbitMQ has the user. If `rotation` is not that of the password, a
    new password is created.
    """
    standing = known or found
    if standing is None:
        made = Credentials(password=new_password(), rotation=rotation)
        if not is_user:
            return Step.CREATE, made
        renewal = new_password()[:8]
        return Step.RENEW, Credentials(password=made.password, rotation=rotation, renewal=renewal)
    if rotation and standing.rotation != rotation:
        return Step.ROTATE, Credentials(password=new_password(), rotation=rotation)
    return (Step.KEEP if found == standing else Step.RESTORE), standing
