"""A way from the API server into pods: what it sends to a fake pod's address, or to a kubelet, reaches a process here.

The API server dials through an egress proxy, as in clusters whose control plane lies in another network. All else of
the path is its own: authorization, the pod's address and port, proxying, streaming.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aiohttp import web

KUBELET = ":10250"
"""The port of every fake node's kubelet, at whatever address."""


class PodNetwork:
    """Routes by `address:port`, or by `:port` at any address; connections to anything else are refused."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "egress"
        self._configuration = folder / "egress.json"
        self.routes: dict[str, tuple[str, int]] = {}
        self._open: set[asyncio.Task[None]] = set()
        transport = {"uds": {"udsName": str(self._socket)}}
        connection = {"proxyProtocol": "HTTPConnect", "transport": transport}
        configuration = {
            "apiVersion": "apiserver.k8s.io/v1beta1",
            "kind": "EgressSelectorConfiguration",
            "egressSelections": [{"name": "cluster", "connection": connection}],
        }
        self._configuration.write_text(json.dumps(configuration))

    @property
    def flag(self) -> str:
        """What the API server is started with."""
        return f"--egress-selector-config-file={self._configuration}"

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["PodNetwork"]:
        """Let connections through."""
        self._socket.unlink(missing_ok=True)
        async with await asyncio.start_unix_server(self._connect, str(self._socket)):
            yield self
            for task in self._open:
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)
        self.routes.clear()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        target = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        port = f":{target.rpartition(':')[2]}"
        try:
            there, back = await asyncio.open_connection(*self.routes[target if target in self.routes else port])
        except (KeyError, OSError):
            writer.write(f"HTTP/1.1 502 No route to {target}\r\n\r\n".encode())
            writer.close()
            return
        try:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await asyncio.gather(_pipe(reader, back), _pipe(there, writer))
        finally:
            writer.close()
            back.close()


async def _pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await source.read(1 << 16):
            sink.write(chunk)
            await sink.drain()
    sink.close()


class Kubelet:
    """What every fake node's kubelet answers when it is asked for logs: what a test has a pod say."""

    def __init__(self) -> None:
        self._said: dict[str, list[bytes]] = {}
        self._ended: set[str] = set()
        self._news = asyncio.Condition()
        self.asked: list[tuple[str, str]] = []
        """Pod and container of every request."""

    @asynccontextmanager
    async def opened(self, network: PodNetwork, certificate: str, key: str) -> AsyncIterator["Kubelet"]:
        """Listen, where the API server looks for kubelets."""
        application = web.Application()
        application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._answer)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        network.routes[KUBELET] = runner.addresses[0][:2]
        yield self
        await runner.cleanup()

    async def say(self, pod: str, *lines: str) -> None:
        """Have a pod say something."""
        async with self._news:
            self._said.setdefault(pod, []).extend(f"{line}\n".encode() for line in lines)
            self._news.notify_all()

    async def until_asked(self, pod: str) -> None:
        """Wait until somebody wants to know what a pod says."""
        async with asyncio.timeout(60), self._news:
            await self._news.wait_for(lambda: any(asked == pod for asked, _ in self.asked))

    async def end(self, pod: str) -> None:
        """Have a pod say nothing any more."""
        async with self._news:
            self._ended.add(pod)
            self._news.notify_all()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        pod = request.match_info["pod"]
        async with self._news:
            self.asked.append((pod, request.match_info["container"]))
            self._news.notify_all()
        response = web.StreamResponse()
        await response.prepare(request)
        num_told = 0
        while True:
            async with self._news:
                lines = self._said.get(pod, [])[num_told:]
                is_over = "follow" not in request.query or pod in self._ended
                if not lines and not is_over:
                    await self._news.wait()
                    continue
            await response.write(b"".join(lines))
            num_told += len(lines)
            if is_over:
                return response
