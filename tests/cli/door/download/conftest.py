"""A server that speaks the API server's protocol and breaks off when it is told to.

Its pods are folders of this machine: the very programs that the command sends run here. The same on a real API server
is in tests/cluster, and on a real node in tests/e2e.
"""

import asyncio
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

import distilljob
from distilljob.cluster import reader, volume
from distilljob.cluster.place import Place

NAMESPACE = "team"
CHUNK_BYTES = 4096
READER = {"name": "reader", "state": {"running": {}}}


@dataclass
class Server:
    """What a test wants of the server, and what it has seen."""

    results: Path
    job: dict[str, Any]
    cuts: int = 0
    """So many streams of weights break off in their middle."""
    short_ends: int = 0
    """So many lose their second half and are told to be over."""
    short_outputs: int = 0
    """So many lists and checksums lose their end and are told to be over."""
    holds: int = 0
    """So many stop in their middle and stay open."""
    ended: str = ""
    """Of this reason, the reader dies with its first stream of weights."""
    num_ending: int = 1
    """So many readers do."""
    brings_nothing: bool = False
    """Streams that break off have brought nothing before."""
    replaced_before_look: dict[str, bytes] = field(default_factory=dict)
    replaced_after_look: dict[str, bytes] = field(default_factory=dict)
    """What files hold from the moment on when they are looked at."""
    vanishing: str = ""
    """The file that is gone when it is to be read."""
    exec_status: int = 101
    phase: str = "Running"
    waiting: str = ""
    claim: bool = True
    """Whether the job's own is there."""
    kept: list[str] = field(default_factory=list)
    """UIDs of deleted jobs whose claims are there."""
    pods: list[dict[str, Any]] = field(default_factory=list)
    templates: list[dict[str, Any]] = field(default_factory=list)
    """Of student's Jobs."""
    late: int = 0
    """So often nobody sees the pod, whose creation is not confirmed."""
    delete_status: int = 200
    holds_deletion: bool = False
    """None is answered."""
    created: list[dict[str, Any]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    """Where streams of weights began."""
    is_read: bool = False
    """Whether a stream of weights went through the newest pod."""
    is_held: threading.Event = field(default_factory=threading.Event)
    is_deletion_held: threading.Event = field(default_factory=threading.Event)
    address: int = 0

    @property
    def reader(self) -> dict[str, Any]:
        """The only pod that was made."""
        (pod,) = self.created
        return pod

    @property
    def is_over(self) -> bool:
        """Whether the newest pod has died."""
        return bool(self.ended) and self.is_read and len(self.created) <= self.num_ending

    def shown_reader(self) -> dict[str, Any]:
        """Give the reader with its status."""
        if self.is_over:
            return self.created[-1] | {"status": {"phase": "Failed", "reason": self.ended, "message": "it is over"}}
        waiting = {"name": "reader", "state": {"waiting": {"reason": self.waiting, "message": "no such image"}}}
        states = {"Running": [READER], "Pending": [waiting] if self.waiting else []}
        return self.created[-1] | {"status": {"phase": self.phase, "containerStatuses": states[self.phase]}}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer."""
        path = request.path
        if path.endswith("/exec"):
            return await self.execute(request)
        if "/distilljobs" in path:
            return self.show_job(path)
        if "/persistentvolumeclaims" in path:
            return self.show_claim(path.rpartition("/")[2])
        if "/pods/" in path:
            return await self.show_reader(request)
        if request.method == "POST":
            self.is_read = False
            self.created.append(await request.json())
            self.created[-1]["metadata"]["uid"] = "pod-uid"
            return web.json_response(self.created[-1], status=504 if self.late else 201)
        items = {"pods": self.pods, "jobs": [{"spec": {"template": each}} for each in self.templates]}
        return web.json_response({"items": items.get(path.rpartition("/")[2], []), "metadata": {}})

    async def show_reader(self, request: web.Request) -> web.Response:
        """Give it, or take it away."""
        if self.late:
            self.late -= 1
            return _missing("pods")
        if request.method == "DELETE":
            if self.holds_deletion:
                self.is_deletion_held.set()
                await asyncio.Event().wait()
            self.deleted.append(request.path.rpartition("/")[2])
            return web.json_response({"message": "not now"}, status=self.delete_status)
        return web.json_response(self.shown_reader())

    def show_job(self, path: str) -> web.Response:
        """Give the one that is there."""
        if path.endswith("/distilljobs"):
            return web.json_response({"items": [self.job], "metadata": {}})
        is_it = path.endswith(f"/{self.job['metadata']['name']}")
        return web.json_response(self.job) if is_it else _missing("distilljobs")

    def show_claim(self, name: str) -> web.Response:
        """Give the claim of the job, or what deleted ones left."""
        if name == "persistentvolumeclaims":
            kept = [
                {"metadata": {"name": f"gone-results-{uid[:8]}", "labels": {"distilljob.dev/uid": uid}}}
                for uid in self.kept
            ]
            return web.json_response({"items": kept, "metadata": {}})
        if not self.claim:
            return _missing("persistentvolumeclaims")
        return web.json_response({"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"]}})

    async def execute(self, request: web.Request) -> web.StreamResponse:
        """Run a program here, as in a pod."""
        if self.exec_status != 101:
            return web.json_response({"message": "no"}, status=self.exec_status)
        socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
        await socket.prepare(request)
        assert request.query["container"] == "reader"
        program = [word.replace("/results", str(self.results)) for word in request.query.getall("command")]
        returncode, printed, complaint = await self.run(program)
        if program[-2].endswith(".safetensors"):
            self.is_read = True
            self.offsets.append(int(program[-1]))
            half = printed[: len(printed) // 2]
            if self.cuts or self.holds or self.is_over:
                await socket.send_bytes(b"\x01" + half * (not self.brings_nothing))
                return await self.stop(request, socket)
            if self.short_ends:
                self.short_ends -= 1
                printed = half
        for start in range(0, len(printed), CHUNK_BYTES):
            await socket.send_bytes(b"\x01" + printed[start : start + CHUNK_BYTES])
        await socket.send_bytes(b"\x02" + complaint)
        status = {"status": "Success"} if returncode == 0 else {"status": "Failure", "message": "exit code 1"}
        await socket.send_bytes(b"\x03" + json.dumps(status).encode())
        await socket.close()
        return socket

    async def run(self, program: list[str]) -> tuple[int | None, bytes, bytes]:
        """Give exit code and outputs of a program that runs here."""
        looked_at = Path(program[-1]).name
        if self.vanishing and program[-2].endswith(self.vanishing):
            (self.results / self.vanishing).unlink()
        if looked_at in self.replaced_before_look:
            (self.results / looked_at).write_bytes(self.replaced_before_look[looked_at])
        process = await asyncio.create_subprocess_exec(
            sys.executable, *program[1:], stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        printed, complaint = await process.communicate()
        if looked_at in self.replaced_after_look:
            (self.results / looked_at).write_bytes(self.replaced_after_look[looked_at])
        if self.short_outputs and not program[-1].isdecimal():
            self.short_outputs -= 1
            printed = printed[: len(printed) // 2]
        return process.returncode, printed, complaint

    async def stop(self, request: web.Request, socket: web.WebSocketResponse) -> web.StreamResponse:
        """Bring no more: break off, or stay open and bring nothing."""
        if self.holds:
            self.holds -= 1
            self.is_held.set()
            await socket.receive()
            return socket
        if self.is_over:
            causes = [{"reason": "ExitCode", "message": "137"}]
            status = {"status": "Failure", "message": "exit code 137", "details": {"causes": causes}}
            await socket.send_bytes(b"\x03" + json.dumps(status).encode())
            return socket
        self.cuts -= 1
        assert request.transport is not None
        request.transport.abort()
        return socket


def _missing(what: str) -> web.Response:
    status = {"kind": "Status", "message": f"{what} not found", "reason": "NotFound", "code": 404}
    return web.json_response(status, status=404)


def student_pod(name: str, uid: str, *, image: str = "trainer:1", **spec: Any) -> dict[str, Any]:
    """Make what a student has left."""
    container = {"name": "student", "image": image, "imagePullPolicy": "Never"}
    labels = {"distilljob.dev/uid": uid, "distilljob.dev/role": "student", "distilljob.dev/student": name}
    metadata = {"name": f"tiny-{name}", "labels": labels, "creationTimestamp": "2026-01-01T00:00:00Z"}
    spec = {"containers": [container], "imagePullSecrets": [{"name": "key"}], **spec}
    return {"metadata": metadata, "spec": spec, "status": {"phase": "Succeeded"}}


@pytest.fixture
def server(result: distilljob.Result, tmp_path: Path) -> Iterator[Server]:
    """Serve the results of a real run."""
    job = json.loads((result.folder / "job.json").read_text())
    job["metadata"] |= {"namespace": NAMESPACE, "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
    shown = {"bestStudent": result.best, "accuracy": 0.9, "exact": True}
    job["status"] = {
        "phase": "Complete",
        "startTime": "2026-01-01T00:00:00Z",
        "result": shown,
        "students": [{"name": "mlp", "restarts": {"crash": 2}}],
    }
    results = tmp_path / "results"
    results.mkdir()
    for file in (result.folder / "results").iterdir():
        (results / file.name).write_bytes(file.read_bytes())
    server = Server(results, job, pods=[student_pod("mlp", job["metadata"]["uid"])])
    ready, loops = threading.Event(), []
    over = asyncio.Event()

    async def serve() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", server.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.address = runner.addresses[0][1]
        loops.append(asyncio.get_running_loop())
        ready.set()
        await over.wait()
        await runner.cleanup()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(30)
    yield server
    loops[0].call_soon_threadsafe(over.set)
    thread.join()


@pytest.fixture
def place(server: Server, tmp_path: Path) -> Place:
    """Give the way to it."""
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.address}"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE}}],
        "current-context": "c",
    }
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(kubeconfig))
    return Place(kubeconfig=str(file))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volume, "PAUSES_SECONDS", (0.01,) * 3)
    monkeypatch.setattr(reader, "REMOVAL_PAUSES_SECONDS", (0.01,) * 3)
