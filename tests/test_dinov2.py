"""DINOv2 and ResNet-18 give what the models they are imported from give, and a view the same bits whatever is looked at beside it."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from safetensors.torch import load_file, save_file
from transformers import BitImageProcessorPil, Dinov2Config, Dinov2Model

from recoder_jax.models import observers, resnet
from recoder_jax.models.dinov2.config import Config, from_hf
from recoder_jax.models.observers import MEAN, MODELS, STD, Observer, config_of, create, read, read_rows
from recoder_jax.models.weights import rows
from recoder_jax.planning.jaxpr import work
from recoder_jax.planning.kernels import Shares

SIZES = {"hidden_size": 48, "num_attention_heads": 3, "num_hidden_layers": 2, "image_size": 518, "patch_size": 14}


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory):
    """A small DINOv2 of transformers, and the directory it is saved in."""
    torch.manual_seed(0)
    model = Dinov2Model(Dinov2Config(**SIZES, layerscale_value=0.7)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    directory = tmp_path_factory.mktemp("dinov2")
    model.save_pretrained(directory)
    return model, directory


def imported(directory):
    config = from_hf(json.loads((directory / "config.json").read_text()))
    return config, read_rows(directory, config)


@pytest.mark.parametrize("size", [(518, 518), (448, 448), (70, 98)], ids=str)
def test_tokens_are_those_of_transformers(dinov2, size):
    reference, directory = dinov2
    config, state = imported(directory)
    pixels = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32)
    with torch.no_grad():
        theirs = reference(torch.from_numpy(pixels).permute(0, 3, 1, 2)).last_hidden_state.numpy()
    graphdef = nnx.graphdef(observers.abstract(config))
    ours = jax.jit(lambda state, x: nnx.merge(graphdef, state)(x))(state, pixels)
    assert ours.shape == theirs.shape and np.abs(ours - theirs).max() < 1e-4


def test_presets_have_the_names_and_sizes_of_the_published_models():
    count = {name: sum(int(np.prod(leaf.shape)) for leaf, _ in rows(nnx.state(observers.abstract(config_of(name))))) for name in MODELS}
    for name, width, heads, depth in (("small", 384, 6, 12), ("base", 768, 12, 12), ("large", 1024, 16, 24)):
        values = SIZES | {"model_type": "dinov2", "hidden_size": width, "num_attention_heads": heads, "num_hidden_layers": depth}
        assert from_hf(values) == config_of(f"dinov2-{name}")
        with torch.device("meta"):
            model = Dinov2Model(Dinov2Config(**SIZES | {k: values[k] for k in SIZES}))
        assert count[f"dinov2-{name}"] == sum(p.numel() for p in model.parameters()) - width  # but for the mask token
    assert count["resnet18"] == 11_689_512 - 513_000 + 2 * 4_800  # torchvision's without its classifier, with the statistics of 4,800 channels


def test_normalisation_is_that_of_the_reference_processor():
    image = np.random.default_rng(0).integers(0, 256, (28, 28, 3), np.uint8)
    processor = BitImageProcessorPil(do_resize=False, do_center_crop=False, image_mean=list(MEAN), image_std=list(STD))
    theirs = processor(image, return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)
    np.testing.assert_allclose((image.astype(np.float32) / 255 - np.array(MEAN)) / np.array(STD), theirs, atol=1e-5)


def test_a_view_has_the_same_bits_whatever_is_looked_at_beside_it():
    config = Config(width=24, heads=2, depth=2, hidden=48, grid=4)
    observer = Observer(config, nnx.state(create(config, 0)), 4, jax.devices()[:1])
    views = np.random.default_rng(0).integers(0, 256, (6, 28, 28, 3), np.uint8)
    together = observer(views)
    assert together.shape == (6, 24) and np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    for number in range(6):
        assert np.array_equal(observer(views[number:number + 1])[0], together[number])
    assert np.array_equal(observer(views[::-1]), together[::-1])
    alone = nnx.state(create(config, 0))
    model = nnx.merge(nnx.graphdef(observers.abstract(config)), alone)
    pixels = (views.astype(np.float32) / 255 - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    tokens = np.asarray(jax.jit(model.__call__)(jnp.asarray(pixels)))[:, 0]
    assert np.abs(tokens / np.linalg.norm(tokens, axis=1, keepdims=True) - together).max() < 1e-5


class Basic(torch.nn.Module):
    """torchvision's basic block."""

    def __init__(self, into, out, stride):
        super().__init__()
        self.conv1, self.bn1 = torch.nn.Conv2d(into, out, 3, stride, 1, bias=False), torch.nn.BatchNorm2d(out)
        self.conv2, self.bn2 = torch.nn.Conv2d(out, out, 3, 1, 1, bias=False), torch.nn.BatchNorm2d(out)
        if stride > 1:
            self.downsample = torch.nn.Sequential(torch.nn.Conv2d(into, out, 1, stride, bias=False), torch.nn.BatchNorm2d(out))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


class ResNet18(torch.nn.Module):
    """torchvision's ResNet-18, by its names."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = torch.nn.Conv2d(3, 64, 7, 2, 3, bias=False), torch.nn.BatchNorm2d(64)
        self.pool = torch.nn.MaxPool2d(3, 2, 1)
        for number, (into, out) in enumerate([(64, 64), (64, 128), (128, 256), (256, 512)], 1):
            setattr(self, f"layer{number}", torch.nn.Sequential(Basic(into, out, 1 if number == 1 else 2), Basic(out, out, 1)))
        self.fc = torch.nn.Linear(512, 1000)

    def forward(self, x):
        x, found = self.pool(torch.relu(self.bn1(self.conv1(x)))), []
        for number in range(1, 5):
            x = getattr(self, f"layer{number}")(x)
            found.append(x)
        return found


def test_stages_of_resnet_are_those_of_torch(tmp_path):
    torch.manual_seed(0)
    reference = ResNet18().eval()
    for module in reference.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    save_file(reference.state_dict(), tmp_path / "model.safetensors")
    config, state = read(tmp_path, "resnet18")
    model = nnx.merge(nnx.graphdef(observers.abstract(config)), state)
    pixels = np.random.default_rng(0).normal(size=(1, 65, 96, 3)).astype(np.float32)
    with torch.no_grad():
        theirs = reference(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    for ours, one in zip(jax.jit(model.__call__)(pixels), theirs, strict=True):
        np.testing.assert_allclose(ours, one.permute(0, 2, 3, 1), atol=1e-4)


def test_the_signatures_of_resnet_multiply_to_the_mean_cosine_of_the_stages():
    model = create(resnet.Config(channels=(4, 8, 8, 8)), 0)
    a, b = np.random.default_rng(0).normal(size=(2, 1, 64, 64, 3)).astype(np.float32)
    look = jax.jit(model.__call__)
    stages = [[np.asarray(x).ravel() for x in look(pixels)] for pixels in (a, b)]
    cosines = [x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in zip(*stages)]
    sign = jax.jit(model.signature)
    assert float(sign(a[0]) @ sign(b[0])) == pytest.approx(np.mean(cosines), abs=1e-5)


@pytest.mark.parametrize("change, words", [
    ({"model_type": "vit"}, "model_type 'vit'"), ({"use_swiglu_ffn": True}, "use_swiglu_ffn True"), ({"hidden_size": None}, "hidden_size None"),
    ({"num_attention_heads": 5}, "num_attention_heads 5"),
])
def test_a_config_of_another_model_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        from_hf(SIZES | {"model_type": "dinov2"} | change)


def test_a_checkpoint_that_does_not_fit_is_refused_by_name(dinov2, tmp_path):
    directory = dinov2[1]
    with pytest.raises(FileNotFoundError, match="there are no weights of dinov2-small"):
        read(tmp_path / "none", "dinov2-small")
    with pytest.raises(ValueError, match="width 48 and depth 2"):
        read(directory, "dinov2-small")
    config, tensors = imported(directory)[0], load_file(directory / "model.safetensors")
    for change, words in (({"layernorm.bias": None}, "lacks 1 tensors, first layernorm.bias"), ({"head": torch.zeros(3)}, "not of the model, first head"),
                          ({"layernorm.bias": torch.zeros(3)}, r"layernorm.bias has shape \(3,\)")):
        changed = {name: tensor for name, tensor in (tensors | change).items() if tensor is not None}
        save_file(changed, tmp_path / "model.safetensors")
        with pytest.raises(ValueError, match=words):
            read_rows(tmp_path, config)


def test_the_rule_for_flops_counts_the_products_of_a_view():
    """Beside the interpolation of positions; XLA's count of ResNet leaves out what is multiplied with padding."""
    pixels = jax.ShapeDtypeStruct((224, 224, 3), np.float32)
    for name, most in (("dinov2-small", 0.01), ("resnet18", 0.1)):
        graphdef, state = nnx.split(observers.abstract(config_of(name)))
        traced = jax.jit(lambda state, x, graphdef=graphdef: nnx.merge(graphdef, state).signature(x)).trace(state, pixels)
        counted = traced.lower().cost_analysis()["flops"] if name == "resnet18" else work(traced.jaxpr, Shares()).flops
        assert observers.flops(config_of(name), 224) == pytest.approx(counted, rel=most)
