"""Whether a word means a job or a folder, and that local work never loads a Kubernetes client."""

import json
import os
import subprocess
import sys

import pytest
import yaml

from distilljob.cluster.place import Place
from distilljob.main import main
from distilljob.run_directory.find import names_run
from distilljob.run_directory.folder import RunFolder

HEAVY = "kubernetes kopf distilljob_operator torch grpc"


@pytest.mark.parametrize("name", ["runs/tiny", "./tiny", "/runs/tiny", "tiny/", ".", ".."])
def test_whatever_holds_a_slash_is_a_folder(name):
    assert names_run(name)


def test_a_word_is_a_folder_only_when_a_run_is_in_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not names_run("tiny")
    (tmp_path / "tiny").mkdir()
    assert not names_run("tiny")
    RunFolder(tmp_path / "tiny").snapshot.write_text("{}")
    assert names_run("tiny")


def test_a_named_cluster_always_means_a_job(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    RunFolder(tmp_path).snapshot.write_text("{}")
    assert main(["status", ".", "--kubeconfig", str(tmp_path / "none")]) == 2
    assert "no way to a cluster" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["status", "tiny"], ["status"], ["top", "tiny"], ["logs", "tiny", "cnn"], ["wait", "tiny"], ["finish", "tiny"],
     ["suspend", "tiny"], ["resume", "tiny"], ["restart", "tiny", "cnn"], ["delete", "tiny"]],
)  # fmt: skip
def test_without_a_kubeconfig_every_command_says_how_to_give_one(tmp_path, capsys, arguments):
    assert main([*arguments, "--kubeconfig", str(tmp_path / "none")]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert "error: no way to a cluster" in shown
    assert "there is no such file" in shown
    assert "give --kubeconfig FILE or --context NAME" in shown


def test_a_context_that_is_not_there_is_named(tmp_path, capsys):
    config = {"contexts": [], "clusters": [], "users": [], "current-context": ""}
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    assert main(["status", "--kubeconfig", str(tmp_path / "config"), "--context", "staging"]) == 2
    assert "staging" in capsys.readouterr().err


def test_what_cannot_run_in_a_cluster_is_told_before_anybody_is_asked(job_file, tmp_path, capsys):
    arguments = ["submit", str(job_file), "--kubeconfig", str(tmp_path / "none")]
    assert main([*arguments, "--set", "metadata.name=1st"]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert "1st cannot run in a cluster" in shown
    assert "begins with a letter" in shown


def test_two_namespaces_are_one_too_many(job_file, capsys):
    assert main(["submit", str(job_file), "-n", "here", "--set", "metadata.namespace=there"]) == 2
    assert "metadata.namespace" in capsys.readouterr().err


def test_the_commands_that_we_advise_lead_to_the_same_place(monkeypatch):
    place = Place("team a", "staging", None)
    assert place.command("logs", "tiny", "cnn") == "distilljob logs tiny cnn -n 'team a' --context staging"
    monkeypatch.setattr(sys, "argv", ["/usr/bin/kubectl-distill"])
    assert Place().command("top", "tiny") == "kubectl distill top tiny"


def test_under_kubectl_help_shows_what_to_type():
    code = "import sys; sys.argv = ['/bin/kubectl-distill', 'logs', '-h']; import distilljob.main as m; m.main()"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "Usage: kubectl distill logs" in shown
    assert "kubectl distill logs digits cnn -f" in shown


@pytest.mark.parametrize(
    "arguments", [["--help"], ["status", "--help"], ["status", "DIR", "--json"], ["validate", "FILE"]]
)
def test_no_kubernetes_client_is_loaded_for_local_work(job_file, tmp_path, arguments):
    folder = RunFolder(tmp_path / "run")
    folder.make()
    resource = yaml.safe_load(job_file.read_text())
    resource["metadata"]["uid"] = "u"
    folder.snapshot.write_text(json.dumps(resource))
    real = [{"DIR": str(folder.root), "FILE": str(job_file)}.get(word, word) for word in arguments]
    code = f"""
import sys
from distilljob.main import main
assert main({real!r}) == 0
print(*{{name.partition('.')[0] for name in sys.modules}} & set({HEAVY.split()!r}), file=sys.stderr)
"""
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ended.stderr.split() == []


@pytest.mark.parametrize("words", ["distilljob status ti", "distilljob logs tiny c"])
def test_completion_without_a_cluster_offers_nothing_and_says_nothing(tmp_path, words):
    asked = {"_DISTILLJOB_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    environment = {**os.environ, **asked, "KUBECONFIG": str(tmp_path / "none"), "HOME": str(tmp_path)}
    code = "import sys; sys.argv = ['distilljob']; import distilljob.main as m; sys.exit(m.main())"
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (0, "", "")
