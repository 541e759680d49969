"""The visual part: views are those of VinciCoder, a blank page earns nothing where that is asked for, and threads change no score."""

import threading
from concurrent.futures import Future

import jax
import numpy as np
import pytest
from flax import nnx
from PIL import Image
from safetensors.numpy import save_file

from recoder_jax import factory
from recoder_jax.configuration import load
from recoder_jax.dialogue.response import parse_response
from recoder_jax.models import observers, weights
from recoder_jax.models.dinov2.config import Config
from recoder_jax.models.observers import MODELS, Observer
from recoder_jax.rewards import visual
from recoder_jax.rewards.attributes import attributes, jaccard
from recoder_jax.rewards.mixture import Mixture, Ramp
from recoder_jax.rewards.visual import MAPPINGS, Visual, VisualOptions, grid_of, views_of
from recoder_jax.validation import CHOICES
from tests.test_mixture import BARE_RESPONSE, CRASHED, GOLDEN, GOOD_RESPONSE, TARGET, chart, execution_of

BLANK = np.full_like(TARGET, 255)
OTHER = chart(values=(50, 20, 60, 30), color=(200, 30, 30))
SMALL = dict(side=28, most=4)


class Eye:
    """Unit vectors of the colours on a grid of 4 x 4, and a constant that makes all pages alike; counts what it is shown."""

    def __init__(self):
        self.shown = []

    def __call__(self, views):
        self.shown.append(len(views))
        coarse = views.reshape(len(views), 4, views.shape[1] // 4, 4, -1, 3).mean((2, 4)).reshape(len(views), -1) / 255 + 0.1
        return (coarse / np.linalg.norm(coarse, axis=1, keepdims=True)).astype(np.float32)


def score(target, render, **options):
    with Visual(Eye(), VisualOptions(**SMALL | options)) as looking:
        return looking.submit(target, render).result()


@pytest.mark.parametrize("height, width, grid", [
    (448, 448, (1, 1)), (600, 600, (1, 1)), (640, 640, (2, 2)), (1400, 1400, (3, 3)), (300, 1000, (3, 1)), (1000, 300, (1, 3)), (480, 640, (4, 3)), (100, 5000, (12, 1)),
])
def test_the_grid_is_nearest_in_aspect_and_larger_for_larger_images(height, width, grid):
    assert grid_of(height, width, 448, 12) == grid


def test_views_are_the_tiles_row_by_row_and_the_whole_image():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8))
    views = views_of(image, 28, (3, 2))
    whole = image.resize((84, 56), Image.Resampling.BICUBIC)
    for number in range(6):
        left, top = number % 3 * 28, number // 3 * 28
        assert np.array_equal(views[number], np.asarray(whole.crop((left, top, left + 28, top + 28))))
    assert np.array_equal(views[6], np.asarray(image.resize((28, 28), Image.Resampling.BICUBIC))) and len(views) == 7
    assert len(views_of(image, 28, (1, 1))) == 1


def test_a_blank_page_earns_much_as_published_and_nothing_calibrated():
    assert score(TARGET, BLANK) > 0.8 and score(TARGET, BLANK, mapping="cosine") > 0.6
    for page in (BLANK, np.zeros_like(BLANK), np.full((30, 40, 3), 255, np.uint8)):
        assert score(TARGET, page, mapping="calibrated") == 0
    specks = BLANK.copy()
    specks[5, 5] = 254
    assert score(TARGET, specks, mapping="calibrated") < 1e-3
    near = chart(values=(30, 50, 20, 50))
    assert 0 < score(TARGET, near, mapping="calibrated") < score(TARGET, near, mapping="half") < 1
    for mapping in MAPPINGS:
        assert score(TARGET, TARGET.copy(), mapping=mapping) == 1 and score(TARGET, None, mapping=mapping) == 0
        assert score(BLANK, BLANK, mapping=mapping) == 1 and score(TARGET, np.zeros((0, 4, 3), np.uint8), mapping=mapping) == 0
    assert score(BLANK, OTHER, mapping="calibrated") == 0


def test_tiles_and_thumbnail_weigh_as_the_options_say():
    views, eye = views_of(Image.fromarray(TARGET), 28, grid_of(*TARGET.shape[:2], 28, 4)), Eye()
    others = views_of(Image.fromarray(OTHER), 28, grid_of(*OTHER.shape[:2], 28, 4))
    halves = (1 + (eye(views) * eye(others)).sum(-1)) / 2
    assert len(halves) > 2
    assert score(TARGET, OTHER) == pytest.approx(halves.mean(), abs=1e-6)
    assert score(TARGET, OTHER, coarse=0.0) == pytest.approx(halves[:-1].mean(), abs=1e-6)
    assert score(TARGET, OTHER, fine=0.0) == pytest.approx(halves[-1], abs=1e-6)
    assert score(TARGET, OTHER, fine=0.0, most=1) == pytest.approx(halves[-1], abs=1e-6)


def test_what_waits_is_looked_at_together_and_a_target_once():
    held, eye = threading.Event(), Eye()

    def slow(views):
        held.wait(30)
        return eye(views)

    renders = [OTHER, BLANK, chart(values=(1, 2, 3, 4)), OTHER]
    with Visual(slow, VisualOptions(**SMALL, mapping="calibrated")) as looking:
        first = looking.submit(TARGET, OTHER)
        pending = [looking.submit(TARGET, render) for render in renders]
        held.set()
        found = [future.result() for future in pending]
        views = len(views_of(Image.fromarray(TARGET), 28, grid_of(*TARGET.shape[:2], 28, 4)))
        assert sum(eye.shown) == 1 + views * (1 + 1 + len(renders)) and len(eye.shown) <= 3      # the blank page is one view
        assert found == [score(TARGET, render, mapping="calibrated") for render in renders] and first.result() == found[0]
    with pytest.raises(ValueError, match="closed"):
        looking.submit(TARGET, OTHER)
    looking.close()


def test_vectors_of_targets_are_forgotten_when_they_are_many(monkeypatch):
    monkeypatch.setattr(visual, "_KEPT_BYTES", 3000)
    with Visual(Eye(), VisualOptions(**SMALL)) as looking:
        targets = [chart(values=(n, 20, 60, 30)) for n in range(1, 9)]
        found = [looking.submit(target, OTHER).result() for target in targets * 2]
        assert looking._bytes == sum(vectors.nbytes for vectors in looking._known.values()) <= 3000
    assert found[:8] == found[8:]


def test_a_failure_comes_out_of_the_future_and_the_next_look_is_answered():
    failing = iter([True, False])

    def observe(views):
        if next(failing):
            raise RuntimeError("the device is gone")
        return Eye()(views)

    with Visual(observe, VisualOptions(**SMALL)) as looking:
        with pytest.raises(RuntimeError, match="the device is gone"):
            looking.submit(TARGET, OTHER).result()
        assert looking.submit(TARGET, OTHER).result() == score(TARGET, OTHER)
        with pytest.raises(ValueError, match="render is"):
            looking.submit(TARGET, OTHER.astype(float))


def test_scores_of_a_model_do_not_depend_on_who_asks_when():
    config = Config(width=24, heads=2, depth=2, hidden=48, grid=4)
    observer = Observer(config, nnx.state(observers.create(config, 0)), 4, jax.devices()[:1])
    renders = [OTHER, BLANK, chart(values=(1, 2, 3, 4)), TARGET[:60]]
    with Visual(observer, VisualOptions(**SMALL)) as looking:
        alone = [looking.submit(TARGET, render).result() for render in renders]
    with Visual(observer, VisualOptions(**SMALL)) as looking:
        together = [future.result() for future in [looking.submit(TARGET, render) for render in renders[::-1]]][::-1]
    assert alone == together and len(set(alone)) == 4


def test_the_mixture_of_vincicoder_weighs_the_look_and_the_language():
    with Visual(Eye(), VisualOptions(**SMALL)) as looking:
        mixture = Mixture(0.0, 0.0, visual=0.9, language=0.1, observer=looking)
        for response, execution, language in ((GOOD_RESPONSE, execution_of(OTHER), 1), (BARE_RESPONSE, CRASHED, 0),
                                              (parse_response("```svg\n<svg/>\n```"), CRASHED, 0), (parse_response("```python\nx\n```"), CRASHED, 1)):
            seen = mixture.look(TARGET, execution).result()
            reward = mixture(response, execution, GOLDEN, target=TARGET, visual=seen)
            assert reward.total == pytest.approx(0.9 * seen + 0.1 * language) and reward.part("language") == language
            assert reward.parts()["visual"] == seen == score(TARGET, execution.render)
        assert mixture.at(3) == mixture
        ramped = Mixture(0.0, 0.0, visual=0.9, language=0.1, observer=looking, ramp=Ramp(4, language=1.0))
        assert ramped.at(0).look(TARGET, GOLDEN) is None and isinstance(ramped.at(2).look(TARGET, GOLDEN), Future)
    with pytest.raises(ValueError, match="give the mixture the result of `look`"):
        mixture(GOOD_RESPONSE, GOLDEN, GOLDEN)
    with pytest.raises(ValueError, match="nothing looks at renders"):
        Mixture(0.0, 0.0, visual=0.5)


def test_attributes_are_the_mean_of_jaccard_indices():
    assert jaccard("aab", "abc") == 2 / 4 and jaccard("", "") == 1
    assert attributes(GOLDEN, GOLDEN) == 1 and attributes(CRASHED, GOLDEN) == 0
    assert attributes(execution_of(TARGET, texts=("a", "b")), GOLDEN) == pytest.approx((1 + 1 + 1 / 2) / 3)
    with pytest.raises(ValueError, match="golden program gave no figure"):
        attributes(GOLDEN, CRASHED)


def save_random(directory, config):
    """A checkpoint of the right form: what `read` reads, with random weights."""
    tensors = {}
    for leaf, row in weights.rows(nnx.state(observers.create(config, 0))):
        layers = np.asarray(leaf.get_value())
        for number, name in enumerate(row.names):
            tensors[name] = weights.to_stored(row, layers if row.layers is None else layers[number])
    save_file(tensors, directory / "model.safetensors")


def test_a_config_gives_what_looks_at_renders(tmp_path):
    assert CHOICES["visual.mapping"] == MAPPINGS and CHOICES["visual.model"] == MODELS
    given = ["--config.reward.alpha=0.0", "--config.reward.visual=0.5", "--config.visual.model=resnet18", "--config.visual.side=56",
             "--config.visual.tiles=1", "--config.visual.mapping=cosine", f"--config.visual.weights={tmp_path}"]
    config = load("configs/tiny/stage1_shared_first_turn.py", given)
    mesh = factory.one_device()
    with pytest.raises(FileNotFoundError, match="no .safetensors file"):
        factory.visual_of(config, mesh)
    save_random(tmp_path, observers.config_of("resnet18"))
    for device in ("policy", "cpu"):
        config.visual.device = device
        with factory.visual_of(config, mesh) as looking:
            mixture = factory.mixture_of(config, None, looking)
            assert 0 < mixture.look(TARGET, execution_of(OTHER)).result() < 1 == mixture.look(TARGET, GOLDEN).result()
    with factory.visual_of(load("configs/tiny/stage1_shared_first_turn.py", []), mesh) as nothing:
        assert nothing is None


@pytest.mark.parametrize("override, words", [
    ("reward.visual=0.1", "visual.weights is empty"), ("visual.side=450", "multiple of 14"), ("visual.mapping=best", "choose half"),
    ("visual.tiles=0", "at least 1"), ("visual.model=dinov2-giant", "choose dinov2-small"),
])
def test_a_config_without_sense_is_refused(override, words):
    with pytest.raises(ValueError, match=words):
        load("configs/tiny/stage1_shared_first_turn.py", [f"--config.{override}"])
