"""Events about what was repaired of a TaskQueue."""

from collections.abc import Sequence

from longshore_operator.app.ports.kubernetes import Events
from longshore_operator.core.kubernetes.owner import Owner


async def tell_drift(owner: Owner, repaired: Sequence[str], *, events: Events) -> None:
    """Report objects that others had deleted or changed, in words; nothing where there are none."""
    if objects := ", ".join(repaired):
        await events.event(
            namespace=owner.namespace,
            name=owner.name,
            uid=owner.uid,
            type="Warning",
            reason="DriftRepaired",
            message=f"deleted or changed by hand, and restored: {objects}",
        )


async def tell_renewal(owner: Owner, secrets: Sequence[str], *, events: Events) -> None:
    """Report Secrets with another password because the old one is lost; nothing where there are
    none."""
    if secrets:
        await events.event(
            namespace=owner.namespace,
            name=owner.name,
            uid=owner.uid,
            type="Warning",
            reason="PasswordRenewed",
            message=f"{' and '.join(secrets)} had been deleted and their password is lost: "
            "made again with a new password; producers that run must read it again",
        )
