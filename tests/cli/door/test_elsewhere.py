import torch
import torchvision
from safetensors.torch import load_file

import distilljob
from distilljob_trainer import models
from distilljob_trainer.export import NetworkFile, export


def test_the_weights_of_a_torchvision_student_load_into_torchvisions_own_network(tmp_path):
    torch.manual_seed(0)
    trained = models.build("torchvision/resnet18", num_classes=10)
    x_BCHW = torch.rand(4, 3, 32, 32)
    trained.train()(x_BCHW)  # moves the statistics of BatchNorm away from where every new network begins
    weights = trained.state_dict()
    classes = tuple(str(number) for number in range(10))
    network = NetworkFile(
        student="resnet",
        model="torchvision/resnet18",
        options={},
        classes=classes,
        preprocessing="",
        mean=None,
        std=None,
    )
    list(export(tmp_path, network, weights, weights))

    elsewhere = torchvision.models.resnet18(num_classes=10)
    elsewhere.load_state_dict(load_file(tmp_path / "resnet.safetensors"))
    with torch.no_grad():
        expected = trained.eval()(x_BCHW)
        assert torch.equal(elsewhere.eval()(x_BCHW), expected)
        assert torch.equal(distilljob.load(tmp_path / "resnet.safetensors")(x_BCHW), expected)
