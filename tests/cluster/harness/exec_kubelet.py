"""What fake nodes' kubelets do when a program is to run in a pod: it runs here, where /results is a test's folder.

They speak `v4.channel.k8s.io` behind the real API server, which authorizes and passes the WebSocket on. They can break
off in the middle.
"""

import asyncio
import json
import ssl
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from rig.pod_network import KUBELET, PodNetwork

_STDOUT, _STDERR, _STATUS = b"\x01", b"\x02", b"\x03"
_CHUNK_BYTES = 8192


class ExecKubelet:
    """All kubelets.

    Attributes:
        cuts: so many streams of weights break off in their middle.
        holds: so many stop in their middle, and stay open.
        held: set by the first that was held.
        ran: pod, container and program of every request.
    """

    def __init__(self, results: Path) -> None:
        self._results = results
        self.cuts = 0
        self.holds = 0
        self.held = asyncio.Event()
        self.ran: list[tuple[str, str, list[str]]] = []

    @asynccontextmanager
    async def opened(self, network: PodNetwork, certificate: str, key: str) -> AsyncIterator["ExecKubelet"]:
        """Listen, where the API server looks for kubelets."""
        application = web.Application()
        application.router.add_get("/exec/{namespace}/{pod}/{container}", self._run)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        network.routes[KUBELET] = runner.addresses[0][:2]
        yield self
        await runner.cleanup()

    async def _run(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
        await socket.prepare(request)
        command = request.query.getall("command")
        self.ran.append((request.match_info["pod"], request.match_info["container"], command))
        program = [word.replace("/results", str(self._results)) for word in command[1:]]
        process = await asyncio.create_subprocess_exec(sys.executable, *program, stdout=PIPE, stderr=PIPE)
        printed, complaint = await process.communicate()
        if any(word.endswith(".safetensors") for word in program) and (self.cuts or self.holds):
            return await self._stop(request, socket, printed[: len(printed) // 2])
        for start in range(0, len(printed), _CHUNK_BYTES):
            await socket.send_bytes(_STDOUT + printed[start : start + _CHUNK_BYTES])
        await socket.send_bytes(_STDERR + complaint)
        status = {"status": "Success"} if process.returncode == 0 else {"status": "Failure", "message": "exit code 1"}
        await socket.send_bytes(_STATUS + json.dumps(status).encode())
        await socket.close()
        return socket

    async def _stop(self, request: web.Request, socket: web.WebSocketResponse, half: bytes) -> web.StreamResponse:
        await socket.send_bytes(_STDOUT + half)
        if self.holds:
            self.holds -= 1
            self.held.set()
            await socket.receive()
            return socket
        self.cuts -= 1
        assert request.transport is not None
        request.transport.abort()
        return socket
