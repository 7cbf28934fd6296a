import copy
import math
import subprocess
import sys
from collections import OrderedDict

import pytest
import torch
from torch import nn

from distilljob_core.errors import FactoryError
from distilljob_trainer import models

# Parameters for 10 and for 100 classes, and the shape of one sample.
COUNTS = {
    "mlp_small": (17_226, 23_076, (1, 8, 8)),
    "cnn_small": (6_090, 17_700, (1, 8, 8)),
    "cnn_bn_small": (6_138, 17_748, (1, 8, 8)),
    "vgg_mini": (24_346, 30_196, (3, 32, 32)),
    "alexnet_cifar": (2_472_266, 2_495_396, (3, 32, 32)),
    "vgg11_bn_cifar": (9_231_114, 9_277_284, (3, 32, 32)),
    "vgg16_bn_cifar": (14_728_266, 14_774_436, (3, 32, 32)),
    "vgg19_bn_cifar": (20_040_522, 20_086_692, (3, 32, 32)),
    "vgg19_cifar": (20_029_514, 20_075_684, (3, 32, 32)),
    "resnet8_cifar": (78_042, 83_892, (3, 32, 32)),
    "resnet20_cifar": (272_474, 278_324, (3, 32, 32)),
    "resnet32_cifar": (466_906, 472_756, (3, 32, 32)),
    "resnet56_cifar": (855_770, 861_620, (3, 32, 32)),
    "resnet110_cifar": (1_730_714, 1_736_564, (3, 32, 32)),
    "resnet18_cifar": (11_173_962, 11_220_132, (3, 32, 32)),
    "densenet_bc_40_12": (176_122, 188_092, (3, 32, 32)),
    "densenet_bc_100_12": (769_162, 800_032, (3, 32, 32)),
}


def num_parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


AVAILABLE = set(models.available())  # before fixtures of other tests register networks of their own


def test_every_built_in_model_has_a_known_size():
    assert set(COUNTS) == AVAILABLE


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts_match_the_published_definitions(name):
    ten, hundred, _ = COUNTS[name]
    assert num_parameters(models.build(name, num_classes=10)) == ten
    assert num_parameters(models.build(name, num_classes=100)) == hundred


@pytest.mark.parametrize("name", COUNTS)
def test_every_built_in_model_returns_logits_and_takes_other_channels(name):
    channels, height, width = COUNTS[name][2]
    models.check_output(models.build(name, num_classes=7), torch.rand(2, channels, height, width), 7, name=name)
    other = models.build(name, num_classes=7, in_channels=channels + 1)
    models.check_output(other, torch.rand(2, channels + 1, height, width), 7, name=name)


@pytest.mark.parametrize("name", ["mlp_small", "cnn_small"])
def test_image_size_follows_the_option(name):
    models.check_output(models.build(name, num_classes=10, image_size=28), torch.rand(2, 1, 28, 28), 10)


def test_every_built_in_model_is_described_in_one_line():
    for name, line in models.available().items():
        assert line, name
        assert "\n" not in line, name


def test_the_same_seed_builds_the_same_weights():
    def weights(seed):
        torch.manual_seed(seed)
        return models.build("resnet8_cifar", num_classes=10).state_dict()

    first, again, other = weights(3), weights(3), weights(4)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", ["vgg11_bn_cifar", "vgg19_cifar", "resnet20_cifar", "densenet_bc_40_12"])
def test_convolutions_start_with_he_variance(name):
    torch.manual_seed(0)
    for module in models.build(name, num_classes=10).modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 4_000:
            height, width = module.kernel_size
            wanted = math.sqrt(2 / (height * width * module.out_channels))
            assert module.weight.std().item() == pytest.approx(wanted, rel=0.08)
            assert module.bias is None or not module.bias.any()


def test_vgg_starts_with_a_small_head():
    torch.manual_seed(0)
    head = models.build("vgg11_bn_cifar", num_classes=100)[-1]
    assert head.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not head.bias.any()


def test_torchvision_models_are_built_by_prefix():
    model = models.build("torchvision/squeezenet1_1", num_classes=5)
    models.check_output(model, torch.rand(2, 3, 64, 64), 5)
    assert num_parameters(model) == 1_235_496 - (512 + 1) * 995


def test_unknown_torchvision_model_lists_close_matches():
    with pytest.raises(FactoryError, match=r"no classifier 'resnet19'. Did you mean resnet18"):
        models.build("torchvision/resnet19", num_classes=10)


def test_torchvision_weights_belong_to_initial_weights():
    with pytest.raises(FactoryError, match="initialWeights"):
        models.build("torchvision/resnet18", num_classes=10, weights="DEFAULT")


def test_unknown_model_lists_close_matches_and_where_it_looked():
    with pytest.raises(FactoryError) as caught:
        models.build("alexnet_cifr", num_classes=10)
    for part in ("'alexnet_cifr'", "Did you mean alexnet_cifar", "resnet110_cifar", "torchvision/", "module:factory"):
        assert part in str(caught.value)


def test_unknown_option_is_named_with_those_taken():
    with pytest.raises(FactoryError, match=r"'alexnet_cifar' takes no option 'channels'. .*in_channels"):
        models.build("alexnet_cifar", num_classes=10, channels=1)


def test_bad_option_value_is_reported_with_the_factory():
    with pytest.raises(FactoryError, match=r"'alexnet_cifar' with options .*'in_channels': 'three'.* raised TypeError"):
        models.build("alexnet_cifar", num_classes=10, in_channels="three")


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    """Writes a module of the user's and puts its folder on the import path."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return tmp_path

    return write


def test_a_users_factory_gets_classes_and_options(user_module):
    user_module(
        "my_nets",
        "from torch import nn\ndef net(num_classes, width=4):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(width, num_classes))\n",
    )
    model = models.build("my_nets:net", num_classes=3, width=6)
    models.check_output(model, torch.rand(2, 6), 3)


def test_a_module_that_does_not_exist_is_reported_with_the_search_path(user_module):
    folder = user_module("present_nets", "")
    with pytest.raises(FactoryError, match=r"importing 'absent_nets' failed: .*No module named") as caught:
        models.build("absent_nets:net", num_classes=10)
    assert str(folder) in str(caught.value)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_module_that_fails_to_import_keeps_its_cause(user_module):
    user_module("broken_nets", "raise OSError('no such driver')")
    with pytest.raises(FactoryError, match="OSError: no such driver") as caught:
        models.build("broken_nets:net", num_classes=10)
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("def nett(num_classes): ...", "'net' does not exist in .*Did you mean nett", id="missing"),
        pytest.param("net = 5", "'net' is not callable", id="not-callable"),
        pytest.param(
            "def net(num_classes): return 'resnet'", "returned str; it must return a torch", id="not-a-module"
        ),
        pytest.param("def net(num_classes): raise KeyError('w')", "raised KeyError: 'w'", id="raises"),
        pytest.param("def net(): ...", "takes no option 'num_classes'", id="no-classes"),
        pytest.param("def net(num_classes, depth): ...", "missing a required argument: 'depth'", id="option-missing"),
    ],
)
def test_a_factory_that_fails_is_named(user_module, text, message):
    user_module("odd_nets", text)
    with pytest.raises(FactoryError, match=message) as caught:
        models.build("odd_nets:net", num_classes=10)
    assert "model 'odd_nets:net'" in str(caught.value)


class Returns(nn.Module):
    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, x):
        return self.output(self, x)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        pytest.param(lambda m, x: x.new_zeros(len(x), 5), r"a tensor \[2, 5\].*logits \[2, 10\]", id="classes"),
        pytest.param(lambda m, x: x.new_zeros(len(x), 10, 1), r"a tensor \[2, 10, 1\]", id="dimensions"),
        pytest.param(lambda m, x: x.new_zeros(1, 10), r"a tensor \[1, 10\]", id="batch"),
        pytest.param(lambda m, x: (x,), "returned a tuple", id="tuple"),
        pytest.param(lambda m, x: OrderedDict(out=x), r"returned a OrderedDict of out: a tensor", id="dictionary"),
        pytest.param(lambda m, x: x.new_zeros(len(x), 10).long(), "torch.int64", id="integers"),
        pytest.param(lambda m, x: x @ x, r"failed on an input of a tensor \[2, 3\].*RuntimeError", id="raises"),
        pytest.param(
            lambda m, x: (x,) if m.training else x.new_zeros(len(x), 10), "a tuple in training mode", id="training-only"
        ),
    ],
)
def test_wrong_outputs_are_described(output, message):
    with pytest.raises(FactoryError, match=message) as caught:
        models.check_output(Returns(output), torch.rand(2, 3), 10, name="mine:net")
    assert "'mine:net'" in str(caught.value)


class Remembering(nn.Linear):
    def get_extra_state(self):
        return {"scale": 3}

    def set_extra_state(self, state):
        raise NotImplementedError


def test_state_that_no_checkpoint_can_hold_is_refused_at_the_start():
    with pytest.raises(FactoryError, match=r"model 'mine:net' keeps 0\._extra_state as a dict.*register_buffer"):
        models.check_output(nn.Sequential(Remembering(3, 10)), torch.rand(2, 3), 10, name="mine:net")


def test_a_dictionary_of_inputs_is_passed_as_it_is():
    model = Returns(lambda _, x: x["tokens"].float() @ torch.ones(4, 10) + x["mask"])
    models.check_output(model, {"tokens": torch.ones(2, 4).long(), "mask": torch.zeros(2, 1)}, 10)


def test_the_dry_pass_leaves_no_trace():
    torch.manual_seed(0)
    model = nn.Sequential(models.build("cnn_bn_small", num_classes=10), nn.Dropout())
    model[0].eval()
    before, modes = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]
    batch = torch.rand(4, 1, 8, 8)
    random_before = torch.get_rng_state()
    models.check_output(model, batch, 10)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random_before)


def test_a_torchvision_that_does_not_import_says_which_one_is_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(FactoryError, match=r"importing torchvision failed.*belongs to the installed torch"):
        models.build("torchvision/resnet18", num_classes=10)


def test_a_callable_without_a_signature_is_simply_called():
    with pytest.raises(FactoryError, match="model 'builtins:dict' returned dict"):
        models.build("builtins:dict", num_classes=10)


def test_models_and_datasets_by_name_need_no_optional_library():
    code = "import sys, distilljob_trainer.models, distilljob_trainer.data; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "distilljob_trainer.data.load" in loaded
    assert not {"torchvision", "PIL", "sklearn"} & set(loaded)
