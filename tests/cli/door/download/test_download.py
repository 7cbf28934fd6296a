"""`distilljob download` when all goes well: what is fetched, what of it is a run directory."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

import distilljob
from distilljob.cluster.download import run_download
from distilljob.report.command import run_report
from distilljob_core.spec.kubectl_yaml import read_yaml


def download(place, folder: Path, part: Any = "best", image: str | None = None) -> distilljob.Result:
    assert run_download("tiny", folder, place, part, image) == 0
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


@pytest.mark.parametrize("part", ["best", "ensemble", "all"])
def test_a_report_is_made_of_any_part(place, tmp_path, part):
    fetched = download(place, tmp_path / part, part)
    assert run_report([fetched.folder], None) == 0
    page = (fetched.folder / "report.html").read_text()
    assert "cnn_small" in page
    assert "mlp_small" in page


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


def test_what_is_published_so_far_can_be_had_and_becomes_whole_later(server, place, tmp_path, capsys):
    server.job["status"]["phase"], shown = "Distilling", server.job["status"].pop("result")
    names = ("result.json", "ensemble.json", "mlp.safetensors")
    later = {name: (server.results / name).read_bytes() for name in names}
    for name in later:
        (server.results / name).unlink()
    assert run_download("tiny", tmp_path / "all", place, "all", None) == 0
    assert "tiny has no result yet; what its students have published is in" in " ".join(capsys.readouterr().out.split())
    assert digests(tmp_path / "all/results") == digests(server.results)
    with pytest.raises(distilljob.NotFound, match="has not finished"):
        distilljob.read(tmp_path / "all")
    for name, content in later.items():
        (server.results / name).write_bytes(content)
    server.job["status"] |= {"phase": "Complete", "result": shown}
    assert digests(download(place, tmp_path / "all", "all").folder / "results") == digests(server.results)


def test_the_pod_that_reads_takes_after_the_jobs_own_and_is_removed(server, place, tmp_path):
    download(place, tmp_path / "best")
    (container,) = server.reader["spec"]["containers"]
    assert (container["image"], container["imagePullPolicy"]) == ("trainer:1", "Never")
    assert server.reader["spec"]["imagePullSecrets"] == [{"name": "key"}]
    assert server.reader["metadata"]["ownerReferences"][0]["name"] == "tiny"
    assert server.deleted == [server.reader["metadata"]["name"]]


def test_pods_that_went_with_their_nodes_are_known_by_their_jobs(server, place, tmp_path):
    server.templates = [{key: pod[key] for key in ("metadata", "spec")} for pod in server.pods]
    server.templates[0]["metadata"].pop("creationTimestamp")
    server.pods = []
    download(place, tmp_path / "best")
    assert server.reader["spec"]["containers"][0]["image"] == "trainer:1"


def test_an_image_may_be_named(server, place, tmp_path):
    download(place, tmp_path / "best", image="python:3.11-slim")
    assert server.reader["spec"]["containers"][0]["image"] == "python:3.11-slim"
