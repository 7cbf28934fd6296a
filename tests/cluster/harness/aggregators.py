"""Real aggregators for jobs whose pods are fake: processes on loopback, all behind one address for the operator.

Between operator and aggregators stands a small HTTP server that can lie: answer nothing, or change the pages.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import aiohttp
from aiohttp import web

from distilljob_core import names
from forks import Forked, servants
from rig.api import CONFIG_MAPS, Api

AGGREGATOR = "distilljob_aggregator.main"
LIMIT_SECONDS = 60.0
Change = Callable[[str, str], str]
"""Given path and text of a page, what is answered instead."""


class Aggregator:
    """The aggregator of one job, with the very snapshot and wishes that its pod would read."""

    def __init__(self, folder: Path, job: str) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.job = job
        self._process: Forked | None = None

    @property
    def address(self) -> str:
        """Where students find it."""
        return f"file:{self.state}/grpc.address"

    @property
    def url(self) -> str:
        """Where it shows itself."""
        return f"http://{(self.state / 'http.address').read_text().strip()}"

    async def start(self) -> None:
        """Start the process, once the one before it is gone, and wait until it answers."""
        await self.kill()
        for name in ("grpc.address", "http.address"):
            (self.state / name).unlink(missing_ok=True)
        arguments = [f"--state={self.state}", f"--results={self.folder / 'results'}"]
        arguments += [f"--control={self.folder / names.CONTROL_FILE_NAME}", "--bind=127.0.0.1", "--grpc-port=0"]
        arguments += ["--http-port=0", "--exit-with-parent"]
        environment = {names.ENV_SPEC_FILE: str(self.folder / names.SPEC_FILE_NAME), names.ENV_NAME: self.job}
        with (self.folder / "log").open("ab") as log:
            self._process = servants().start(
                AGGREGATOR, arguments, {**os.environ, **environment}, stdout=log.fileno(), stderr=log.fileno()
            )
        async with asyncio.timeout(LIMIT_SECONDS):
            while not (self.state / "http.address").exists():
                assert self._process.poll() is None, (self.folder / "log").read_text()
                await asyncio.sleep(0.02)

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        assert self._process is not None
        return self._process.pid

    async def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.close()


class Aggregators:
    """All aggregators of a test, and the address under which an operator finds them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[tuple[str, str], Aggregator] = {}
        self._changes: dict[tuple[str, str], Change] = {}
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self.num_looks = 0
        """Pages that were asked for."""
        self._looked = asyncio.Condition()
        self._num_tables: Counter[tuple[str, str]] = Counter()

    async def open(self) -> None:
        """Listen."""
        application = web.Application()
        application.router.add_get("/{namespace}/{job}/{path:.*}", self._answer)
        self._session = aiohttp.ClientSession()
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()

    async def close(self) -> None:
        """End everything."""
        for aggregator in self._running.values():
            await aggregator.kill()
        assert self._runner is not None
        assert self._session is not None
        await self._runner.cleanup()
        await self._session.close()

    @property
    def template(self) -> str:
        """What the operator is given as `--aggregator-url`."""
        assert self._runner is not None
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/{{namespace}}/{{job}}"

    async def start(self, api: Api, namespace: str, job: str) -> Aggregator:
        """Start a job's aggregator as its pod would, once the operator has written what it reads."""
        folder = self._folder / f"{namespace}-{job}"
        folder.mkdir(parents=True, exist_ok=True)
        found = await api.until(CONFIG_MAPS, lambda maps: len(_of(maps, job)) == 2, namespace)
        for config_map in _of(found, job):
            for name, text in config_map["data"].items():
                (folder / name).write_text(text)
        aggregator = Aggregator(folder, job)
        await aggregator.start()
        self._running[namespace, job] = aggregator
        return aggregator

    async def bring_wishes(self, api: Api, namespace: str, job: str) -> None:
        """Bring the newest wishes to the aggregator, as the kubelet would."""
        config_map = await api.get(CONFIG_MAPS, names.control_config_map(job), namespace)
        path = self._running[namespace, job].folder / names.CONTROL_FILE_NAME
        temporary = path.with_suffix(".new")
        temporary.write_text(config_map["data"][names.CONTROL_FILE_NAME])
        temporary.replace(path)

    def lie(self, namespace: str, job: str, change: Change | None) -> None:
        """Have the pages of a job's aggregator changed from now on; None = tell the truth again."""
        if change is None:
            self._changes.pop((namespace, job), None)
        else:
            self._changes[namespace, job] = change

    async def until_looks(self, namespace: str, job: str, num: int) -> None:
        """Wait until somebody has begun to look at this job's aggregator so many times more."""
        key = (namespace, job)
        async with asyncio.timeout(LIMIT_SECONDS), self._looked:
            enough = self._num_tables[key] + num
            await self._looked.wait_for(lambda: self._num_tables[key] >= enough)

    async def _answer(self, request: web.Request) -> web.Response:
        self.num_looks += 1
        key = (request.match_info["namespace"], request.match_info["job"])
        path = f"/{request.match_info['path']}"
        if path == "/v1/status":
            async with self._looked:
                self._num_tables[key] += 1
                self._looked.notify_all()
        assert self._session is not None
        if key not in self._running:
            return web.Response(status=503, text="no such aggregator runs")
        try:
            async with self._session.get(f"{self._running[key].url}{path}") as answer:
                status, text = answer.status, await answer.text()
        except (aiohttp.ClientError, OSError) as error:
            return web.Response(status=503, text=str(error))
        change = self._changes.get(key)
        return web.Response(status=status, text=change(path, text) if change else text)


def _of(config_maps: list[dict], job: str) -> list[dict]:
    return [one for one in config_maps if (one["metadata"].get("labels") or {}).get(names.LABEL_JOB) == job]


def blind(path: str, text: str) -> str:
    """Answer as an aggregator that cannot be read."""
    raise web.HTTPServiceUnavailable(text="not now")
