import hashlib
import json

import pytest
import safetensors.torch
import torch

from distilljob_core.artifacts import EnsembleManifest, EnsembleMember
from distilljob_core.errors import DataError, FactoryError
from distilljob_trainer.data.split import Normalization
from distilljob_trainer.export import Ensemble, NetworkFile, describe, export, load


@pytest.fixture
def exported(group, tmp_path):
    job = group()
    model = job.student.model
    network = describe("bn", "cnn_bn_small", {"in_channels": 1}, job.data)
    selected = {name: tensor * 2 for name, tensor in model.state_dict().items()}
    list(export(tmp_path, network, model.state_dict(), selected))
    return job, tmp_path


def test_an_export_loads_to_the_same_logits(exported):
    job, folder = exported
    x, _ = job.data.test.batch(torch.arange(16))
    loaded = load(folder / "bn.safetensors")
    assert not loaded.training
    with torch.no_grad():
        assert torch.equal(loaded(x), job.student.model.eval()(x))
        assert not torch.equal(load(folder / "bn-selected.safetensors")(x), loaded(x))


def test_equal_weights_are_equal_files(exported, tmp_path):
    job, folder = exported
    network = describe("bn", "cnn_bn_small", {"in_channels": 1}, job.data)
    again = tmp_path / "again"
    again.mkdir()
    shuffled = dict(reversed(job.student.model.state_dict().items()))
    for _, path in export(again, network, shuffled, shuffled):
        if path.name != "bn-selected.safetensors":
            sums = [hashlib.sha256(file.read_bytes()).hexdigest() for file in (path, folder / path.name)]
            assert sums[0] == sums[1]


def test_the_file_loads_without_distilljob(exported):
    job, folder = exported
    tensors = safetensors.torch.load_file(folder / "bn.safetensors")
    job.student.model.load_state_dict(tensors)
    assert json.loads((folder / "bn.json").read_text())["classes"] == [str(digit) for digit in range(10)]


def test_weights_that_share_memory_are_exported_whole(group, tmp_path):
    weight = torch.arange(6.0).reshape(2, 3)
    network = NetworkFile(student="t", model="m", options={}, classes=("a",), preprocessing="", mean=None, std=None)
    list(export(tmp_path, network, {"a": weight, "b": weight}, {}))
    assert torch.equal(safetensors.torch.load_file(tmp_path / "t.safetensors")["b"], weight)


def test_normalization_travels_with_the_network(group):
    data = group().data
    from dataclasses import replace

    data = replace(data, train=replace(data.train, normalization=Normalization((0.5,), (0.25,))))
    network = describe("bn", "cnn_bn_small", {}, data)
    assert (network.mean, network.std) == ((0.5,), (0.25,))


def test_the_ensemble_is_the_weighted_mean_of_predictions():
    first, second = torch.nn.Identity(), torch.nn.Tanh()
    x = torch.tensor([[1.0, -1.0], [0.3, 0.2]])
    expected = 0.25 * x.softmax(dim=1) + 0.75 * x.tanh().softmax(dim=1)
    torch.testing.assert_close(Ensemble([first, second], [1, 3])(x), expected)
    torch.testing.assert_close(Ensemble([first, second], [0, 0])(x).sum(dim=1), torch.ones(2))


def test_the_ensembles_manifest_loads(exported):
    job, folder = exported
    members = [
        EnsembleMember(student="bn", model="cnn_bn_small", weight=weight, file=file, sha256="")
        for weight, file in ((2, "bn.safetensors"), (1, "bn-selected.safetensors"))
    ]
    (folder / "ensemble.json").write_text(EnsembleManifest(members=members).model_dump_json(by_alias=True))
    x, _ = job.data.test.batch(torch.arange(16))
    with torch.no_grad():
        p_BK = load(folder / "ensemble.json")(x)
        parts = [load(folder / member.file)(x).softmax(dim=1) for member in members]
    torch.testing.assert_close(p_BK, (2 * parts[0] + parts[1]) / 3)


@pytest.mark.parametrize("name", ["absent.safetensors", "ensemble.json"])
def test_a_missing_file_is_named(tmp_path, name):
    with pytest.raises(DataError, match=name.replace(".safetensors", ".json")):
        load(tmp_path / name)


def test_weights_of_another_network_are_refused(exported):
    _, folder = exported
    (folder / "bn.safetensors").write_bytes(safetensors.torch.save({"x": torch.zeros(1)}))
    with pytest.raises(DataError, match=r"bn\.safetensors"):
        load(folder / "bn.safetensors")
    (folder / "bn.safetensors").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"bn\.safetensors"):
        load(folder / "bn.safetensors")


def test_a_network_that_is_not_installed_here_is_named(exported):
    _, folder = exported
    config = json.loads((folder / "bn.json").read_text())
    (folder / "bn.json").write_text(json.dumps(config | {"model": "not_here:factory"}))
    with pytest.raises(FactoryError, match="not_here"):
        load(folder / "bn.safetensors")
