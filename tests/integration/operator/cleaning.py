"""What a test leaves in RabbitMQ goes with it."""

from http import HTTPStatus

import httpx

from tests.integration.operator.task_queues import until


async def remove_vhost(vhost: str, *, management: str, auth: tuple[str, str]) -> None:
    """Remove a vhost and all users whose names begin with its name."""
    async with httpx.AsyncClient(base_url=management, auth=auth, timeout=60) as client:

        async def listed() -> httpx.Response | None:
            # RabbitMQ answers 500 when a user goes while it reads the list (4.3.6).
            response = await client.get("/api/users")
            gone = response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR
            return None if gone else response.raise_for_status()

        users = (await until(listed)).json()
        for name in [user["name"] for user in users if user["name"].startswith(vhost)]:
            await client.delete(f"/api/users/{name}")
        (await client.delete(f"/api/vhosts/{vhost}")).raise_for_status()
