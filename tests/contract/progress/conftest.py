"""Aggregators that are looked at, and a real Prometheus server that scrapes them."""

import asyncio
import json
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest

from distilljob_operator.progress.fetch import Direct
from distilljob_operator.progress.look import Target
from distilljob_operator.progress.poller import open_session

HOW_TO_GET_IT = "apt-get install --no-install-recommends prometheus"
SECONDS = 60.0


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session() as made:
        yield made


@pytest.fixture
def direct(session) -> Callable[..., Direct]:
    """Find the way to an aggregator that listens on loopback."""

    def make(aggregator) -> Direct:
        return Direct(session, f"http://{{pod_ip}}:{address_of(aggregator).rpartition(':')[2]}")

    return make


@pytest.fixture
def target() -> Callable[..., Target]:
    """Name the aggregator that the fixtures start, as the operator would."""

    def make(aggregator, namespace="team", **changes) -> Target:
        uid = aggregator.table().uid
        return Target(**{"key": (namespace, "test"), "uid": uid, "pod_name": "p", "pod_ip": "127.0.0.1"} | changes)

    return make


@pytest.fixture
def address() -> Callable[..., str]:
    """Give an aggregator's host and port."""
    return address_of


def address_of(aggregator) -> str:
    return (aggregator.state / "http.address").read_text().strip()


class PrometheusServer:
    """One server on loopback; what it scrapes is in a file that it watches."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = "http://127.0.0.1:9"  # where nobody listens, until it does
        self.process: subprocess.Popen | None = None

    def start(self, targets: dict[str, str], backfill: str = "") -> None:
        """Start it.

        Args:
            targets: namespace by address; the job's name is always "test".
            backfill: samples of the past, in OpenMetrics.
        """
        data = self.folder / "data"
        if backfill:
            past = self.folder / "past.txt"
            past.write_text(backfill)
            subprocess.run(
                [program("promtool"), "tsdb", "create-blocks-from", "openmetrics", str(past), str(data)],
                check=True,
                capture_output=True,
            )
        self.scrape(targets)
        config = self.folder / "prometheus.json"
        found = [{"files": [str(self.folder / "targets.json")]}]
        scrape = {"job_name": "pods", "file_sd_configs": found}
        config.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [scrape]}))
        argv = [program("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={data}"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([*argv, "--web.listen-address=127.0.0.1:0"], stderr=log)
        self.until(self.find_port)
        self.until(lambda: self.get("/-/ready"))

    def find_port(self) -> bool:
        """Read in its log which port the system gave it."""
        found = re.search(r'msg="Listening on" address=(\S+)', (self.folder / "log").read_text())
        self.url = f"http://{found[1]}" if found else self.url
        return found is not None

    def scrape(self, targets: dict[str, str]) -> None:
        groups = [
            {"targets": [address], "labels": {"namespace": namespace, "distilljob": "test"}}
            for address, namespace in targets.items()
        ]
        (self.folder / "targets.tmp").write_text(json.dumps(groups))
        (self.folder / "targets.tmp").replace(self.folder / "targets.json")

    def get(self, path: str) -> str:
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as reply:
                return reply.read().decode()
        except OSError:
            return ""

    def query(self, query: str) -> list[dict[str, Any]]:
        return json.loads(self.get(f"/api/v1/query?{urlencode({'query': query})}"))["data"]["result"]

    def num_queries(self) -> int:
        """How many queries it has answered."""
        lines = [line for line in self.get("/metrics").splitlines() if 'handler="/api/v1/query"' in line]
        return sum(int(line.split()[1]) for line in lines if line.startswith("prometheus_http_requests_total"))

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.02)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)
            self.process = None


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is needed here: {HOW_TO_GET_IT} (it need not run as a service)", pytrace=False)
    return found


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[PrometheusServer]:
    folder = tmp_path / "prometheus"
    folder.mkdir()
    server = PrometheusServer(folder)
    yield server
    server.stop()


@pytest.fixture
def within() -> Callable[..., Any]:
    """Wait for something that must come, and fail instead of waiting for ever."""

    async def wait(awaitable) -> Any:
        async with asyncio.timeout(SECONDS):
            return await awaitable

    return wait
