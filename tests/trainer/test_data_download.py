"""Downloads: once, whole or not at all, checked; from a server on loopback in the place of the published one."""

import gzip
import hashlib
import struct
import threading
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from distilljob_core.errors import DataError
from distilljob_trainer import data
from distilljob_trainer.data.download import MissingDataError, fetch

torchvision_mnist = pytest.importorskip("torchvision.datasets.mnist")

FILES = {
    "train-images-idx3-ubyte.gz": (60_000, 28, 28),
    "train-labels-idx1-ubyte.gz": (60_000,),
    "t10k-images-idx3-ubyte.gz": (10_000, 28, 28),
    "t10k-labels-idx1-ubyte.gz": (10_000,),
}


class _Counting(SimpleHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        super().do_GET()

    def log_message(self, *_):
        pass

    def copyfile(self, source, outputfile):
        with suppress(BrokenPipeError):  # torchvision looks for redirections first and hangs up
            super().copyfile(source, outputfile)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Files of the published shapes, and a server that has them."""
    folder = tmp_path_factory.mktemp("published")
    for name, shape in FILES.items():
        values = np.arange(np.prod(shape), dtype=np.uint32) % 10
        header = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
        (folder / name).write_bytes(gzip.compress(header + values.astype(np.uint8).tobytes(), 1))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Counting, directory=folder))
    server.requests = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def server(published, monkeypatch):
    folder, server = published
    server.requests.clear()
    resources = [(name, hashlib.md5((folder / name).read_bytes()).hexdigest()) for name in FILES]
    monkeypatch.setattr(torchvision_mnist.FashionMNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
    monkeypatch.setattr(torchvision_mnist.FashionMNIST, "resources", resources)
    return server


def load(root, download="IfMissing"):
    options = {"train_samples": 100, "test_samples": 50}
    arguments = {"augmentation": "Disabled", "holdout_fraction": 0.1, "holdout_maximum": 100, "seed": 0}
    return data.load("fashion_mnist", options, root, download=download, num_workers=0, **arguments)


def test_what_is_missing_is_downloaded_and_read(server, tmp_path):
    assert load(tmp_path).train.num_samples == 100
    assert set(server.requests) == {f"/{name}" for name in FILES}


def test_what_is_there_is_not_downloaded_again(server, tmp_path):
    load(tmp_path)
    server.requests.clear()
    load(tmp_path)
    assert server.requests == []


def test_never_means_never(server, tmp_path):
    with pytest.raises(MissingDataError, match="Put the four published files there"):
        load(tmp_path, download="Never")
    assert server.requests == []


def test_students_that_ask_at_once_download_once(server, tmp_path):
    load(tmp_path / "alone")
    requests_of_one = sorted(server.requests)
    server.requests.clear()
    outcomes = []
    threads = [threading.Thread(target=lambda: outcomes.append(load(tmp_path / "shared"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({outcome.train_fingerprint for outcome in outcomes}) == 1
    assert len(outcomes) == 4
    assert sorted(server.requests) == requests_of_one


def test_a_damaged_download_leaves_nothing_behind_and_says_so(server, tmp_path, monkeypatch):
    wrong = [(name, "0" * 32) for name in FILES]
    monkeypatch.setattr(torchvision_mnist.FashionMNIST, "resources", wrong)
    with pytest.raises(DataError, match="fashion_mnist: the download failed"):
        load(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".download.lock"]


def test_a_folder_that_cannot_be_made_sends_the_download_to_the_cache(server, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "file").write_text("in the way")
    assert load(tmp_path / "file" / "data").train.num_samples == 100
    assert (tmp_path / "cache/distilljob/data/FashionMNIST").is_dir()


def test_a_folder_that_cannot_be_written_sends_the_download_to_the_cache(server, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write anywhere
    assert fetch("fashion_mnist", tmp_path / "data") == tmp_path / "cache/distilljob/data"
