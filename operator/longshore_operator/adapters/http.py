"""The operator's HTTP server: metrics, and the last hour for `longshore explain`.

Every pod of the cluster can reach it unless the chart's NetworkPolicy is enabled. It shows names
and numbers, but no jobs, and nothing can be changed.
"""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from longshore_operator.core.workers.history import Hour

History = Callable[[str, str], Hour | None]
"""Returns the last hour of a TaskQueue by its namespace and name; None if there is no such
TaskQueue."""


async def serve(history: History, *, exposition: Callable[[], bytes], port: int) -> web.AppRunner:
    """Listen on all addresses until `cleanup` of the returned runner is called."""

    async def answer(request: web.Request) -> web.Response:
        hour = history(request.match_info["namespace"], request.match_info["name"])
        if hour is None:
            raise web.HTTPNotFound(text="no such TaskQueue\n")
        return web.Response(text=hour.model_dump_json(), content_type="application/json")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/v1/history/{namespace}/{name}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, port=port).start()
    return runner
