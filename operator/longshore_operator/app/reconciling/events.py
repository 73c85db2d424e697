"""Events about repairs of a TaskQueue's objects."""

from collections.abc import Sequence

from longshore_operator.app.ports.kubernetes import Events
from longshore_operator.core.kubernetes.owner import Owner


async def tell_drift(owner: Owner, repaired: Sequence[str], *, events: Events) -> None:
    """Report objects that others had deleted or changed, in words; do nothing if there are none."""
    if objects := ", ".join(repaired):
        await events.event(
            namespace=owner.namespace,
            name=owner.name,
            uid=owner.uid,
            type="Warning",
            reason="DriftRepaired",
            message=f"restored, because they had been deleted or changed by hand: {objects}",
        )


async def tell_renewal(owner: Owner, secrets: Sequence[str], *, events: Events) -> None:
    """Report Secrets that have a new password because the old one is lost; do nothing if there are
    none."""
    if secrets:
        await events.event(
            namespace=owner.namespace,
            name=owner.name,
            uid=owner.uid,
            type="Warning",
            reason="PasswordRenewed",
            message=f"{' and '.join(secrets)} had been deleted and the old password is lost: "
            "created again with a new password; running producers must read it again",
        )
