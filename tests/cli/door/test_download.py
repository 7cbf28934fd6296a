"""`distilljob download` against a server that speaks the API server's protocol and breaks off when it is told to.

Its pods are folders of this machine: the very programs that the command sends run here. The same on a real node is in
tests/e2e.
"""

import asyncio
import hashlib
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
from distilljob.cluster import download as command
from distilljob.cluster.place import Place
from distilljob.cluster.reader import what_it_waits_for
from distilljob.errors import CommandError, NotFound
from distilljob_core.spec.kubectl_yaml import read_yaml

NAMESPACE = "team"
CHUNK_BYTES = 4096


@dataclass
class Server:
    """What the test wants of the server, and what it has seen."""

    results: Path
    job: dict[str, Any]
    cuts: int = 0
    """So many streams of weights break off in their middle."""
    phase: str = "Running"
    waiting: str = ""
    claim: bool = True
    created: list[dict[str, Any]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    address: str = ""

    def pod(self) -> dict[str, Any]:
        state = {"waiting": {"reason": self.waiting, "message": "no such image"}} if self.waiting else {}
        status = {"phase": self.phase, "containerStatuses": [{"state": state}]}
        return self.created[-1] | {"status": status}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if path.endswith("/exec"):
            return await self.execute(request)
        if "/distilljobs/" in path:
            return web.json_response(self.job)
        if "/persistentvolumeclaims/" in path:
            status = {"kind": "Status", "message": "not found", "reason": "NotFound", "code": 404}
            return web.json_response({} if self.claim else status, status=200 if self.claim else 404)
        if request.method == "POST":
            body = await request.json()
            body["metadata"]["uid"] = "pod-uid"
            self.created.append(body)
            return web.json_response(body, status=201)
        if request.method == "DELETE":
            self.deleted.append(path.rpartition("/")[2])
            return web.json_response({})
        if path.endswith("/pods"):
            student = {"name": "student", "image": "trainer:1", "imagePullPolicy": "Never"}
            metadata = {"name": "tiny-mlp", "labels": {}, "creationTimestamp": "2026-01-01T00:00:00Z"}
            pod = {"metadata": metadata, "spec": {"containers": [student], "imagePullSecrets": [{"name": "key"}]}}
            return web.json_response({"items": [pod], "metadata": {}})
        return web.json_response(self.pod())

    async def execute(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
        await socket.prepare(request)
        program = [word.replace("/results", str(self.results)) for word in request.query.getall("command")]
        process = await asyncio.create_subprocess_exec(
            sys.executable, *program[1:], stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        printed, complaint = await process.communicate()
        if program[-2].endswith(".safetensors"):
            self.offsets.append(int(program[-1]))
            if self.cuts:
                self.cuts -= 1
                await socket.send_bytes(b"\x01" + printed[: len(printed) // 2])
                assert request.transport is not None
                request.transport.abort()
                return socket
        for start in range(0, len(printed), CHUNK_BYTES):
            await socket.send_bytes(b"\x01" + printed[start : start + CHUNK_BYTES])
        await socket.send_bytes(b"\x02" + complaint)
        status = {"status": "Success"} if process.returncode == 0 else {"status": "Failure", "message": "exit code 1"}
        await socket.send_bytes(b"\x03" + json.dumps(status).encode())
        await socket.close()
        return socket


@pytest.fixture
def server(result: distilljob.Result) -> Iterator[Server]:
    """Serve the results of a real run."""
    job = json.loads((result.folder / "job.json").read_text())
    job["metadata"] |= {"namespace": NAMESPACE, "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
    shown = {"bestStudent": result.best, "accuracy": 0.9, "exact": True}
    job["status"] = {"phase": "Complete", "result": shown, "students": [{"name": "mlp", "restarts": {"crash": 2}}]}
    server = Server(result.folder / "results", job)
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
    monkeypatch.setattr(command, "PAUSE_SECONDS", 0.01)


def download(place: Place, folder: Path, part: Any = "best", image: str | None = None) -> distilljob.Result:
    assert command.run_download("tiny", folder, place, part, image) == 0
    return distilljob.read(folder)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_everything_is_what_the_run_left_with_the_restarts_that_the_status_counts(server, place, result, tmp_path):
    fetched = download(place, tmp_path / "all", "all")
    assert digests(fetched.folder / "results") == digests(server.results)
    assert {student.name: student.restarts for student in fetched.students} == {"mlp": 2, "cnn": 0}
    assert fetched.verdict == result.verdict
    assert list(fetched.to_dataframe()["epoch"]) == list(result.to_dataframe()["epoch"])
    assert read_yaml((fetched.folder / "job.yaml").read_text())["metadata"] == {"name": "tiny"}


def test_the_best_student_comes_without_the_weights_of_others(place, tmp_path):
    fetched = download(place, tmp_path / "best")
    names = {path.name for path in (fetched.folder / "results").glob("*.safetensors")}
    assert names == {f"{fetched.best}.safetensors", f"{fetched.best}-selected.safetensors"}
    assert distilljob.load(fetched.weights(fetched.best)) is not None


def test_the_ensemble_comes_with_its_members(place, tmp_path):
    fetched = download(place, tmp_path / "ensemble", "ensemble")
    assert distilljob.load(fetched.ensemble_file) is not None
    assert not list((fetched.folder / "results").glob("*-selected.safetensors"))


def test_a_stream_that_breaks_goes_on_where_it_broke(server, place, tmp_path):
    server.cuts = 3
    fetched = download(place, tmp_path / "all", "all")
    assert digests(fetched.folder / "results") == digests(server.results)
    assert sorted(server.offsets)[-3:][0] > 0, "three streams began in the middle of a file"


def test_a_connection_that_breaks_for_good_leaves_no_half_file(server, place, tmp_path):
    server.cuts = 100
    with pytest.raises(CommandError, match="does not answer"):
        download(place, tmp_path / "all", "all")
    assert not [path.name for path in (tmp_path / "all/results").iterdir() if "safetensors" in path.name]
    assert server.deleted == [server.created[0]["metadata"]["name"]]


def test_the_same_command_again_fetches_only_what_is_missing(server, place, tmp_path):
    fetched = download(place, tmp_path / "all", "all")
    (fetched.folder / "results/cnn.safetensors").unlink()
    server.offsets.clear()
    download(place, tmp_path / "all", "all")
    assert server.offsets == [0]


def test_a_file_that_was_changed_here_is_fetched_again(place, server, tmp_path):
    fetched = download(place, tmp_path / "all", "all")
    (fetched.folder / "results/cnn.safetensors").write_bytes(b"other")
    download(place, tmp_path / "all", "all")
    assert digests(fetched.folder / "results") == digests(server.results)


def test_the_pod_that_reads_is_restricted_takes_after_the_jobs_own_and_is_removed(server, place, tmp_path):
    download(place, tmp_path / "best")
    (pod,) = server.created
    (container,) = pod["spec"]["containers"]
    assert (container["image"], container["imagePullPolicy"]) == ("trainer:1", "Never")
    assert pod["spec"]["imagePullSecrets"] == [{"name": "key"}]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert pod["spec"]["volumes"][0]["persistentVolumeClaim"]["readOnly"]
    assert pod["metadata"]["ownerReferences"][0]["name"] == "tiny"
    assert server.deleted == [pod["metadata"]["name"]]


def test_an_image_may_be_named(server, place, tmp_path):
    download(place, tmp_path / "best", image="python:3.11-slim")
    assert server.created[0]["spec"]["containers"][0]["image"] == "python:3.11-slim"


def test_a_pod_that_does_not_start_says_why_and_is_removed(server, place, tmp_path):
    server.phase, server.waiting = "Pending", "ErrImageNeverPull"
    with pytest.raises(CommandError, match="ErrImageNeverPull: no such image"):
        download(place, tmp_path / "best")
    assert len(server.deleted) == 1


def test_a_claim_that_is_gone_is_named_and_no_pod_is_made(server, place, tmp_path):
    server.claim = False
    with pytest.raises(NotFound, match=r"tiny-results-.* is gone"):
        download(place, tmp_path / "best")
    assert not server.created


def test_a_job_without_a_result_says_how_to_wait_for_it(server, place, tmp_path):
    server.job["status"] = {"phase": "Training"}
    with pytest.raises(CommandError, match=r"no result yet\n.*Training.*wait tiny"):
        download(place, tmp_path / "best")
    assert not (tmp_path / "best").exists()


def test_a_folder_of_another_job_is_refused(server, place, tmp_path):
    download(place, tmp_path / "best")
    server.job["metadata"]["uid"] = "99999999-2222-3333-4444-555555555555"
    with pytest.raises(distilljob.BadInput, match="holds a run of another job"):
        download(place, tmp_path / "best")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").write_text("mine")
    with pytest.raises(distilljob.BadInput, match="neither empty nor a run directory"):
        download(place, tmp_path / "other")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"phase": "Pending"}, "Pending"),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "full"}]},
            "Unschedulable: full",
        ),
        ({"phase": "Failed", "reason": "Evicted", "message": "disk"}, "Evicted: disk"),
    ],
)
def test_what_a_pod_waits_for_is_told_in_kubernetes_words(status, words):
    assert what_it_waits_for({"status": status}) == words
