"""The HTTP side: metrics, probes and the round table."""

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from distilljob_aggregator.coordinator import Coordinator
from distilljob_core.errors import DistillJobError


async def start_web(
    coordinator: Coordinator, registry: CollectorRegistry, bind: str, port: int
) -> tuple[web.AppRunner, int]:
    """Listen; gives the runner and its port, which the system chooses when it is 0.

    Raises:
        DistillJobError: the port is taken.
    """

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def live(_: web.Request) -> web.Response:
        return web.Response(text="live\n")

    async def ready(_: web.Request) -> web.Response:
        if coordinator.is_loaded:
            return web.Response(text="ready\n")
        return web.Response(status=503, text="reading the spool after a restart\n")

    async def status(_: web.Request) -> web.Response:
        text = coordinator.table().model_dump_json(by_alias=True)
        return web.Response(text=text, content_type="application/json")

    application = web.Application()
    application.add_routes(
        [
            web.get("/metrics", metrics),
            web.get("/livez", live),
            web.get("/readyz", ready),
            web.get("/v1/status", status),
        ]
    )
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, bind, port)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise DistillJobError(f"cannot listen on {bind}:{port}: {error.strerror}") from error
    return runner, runner.addresses[0][1]
