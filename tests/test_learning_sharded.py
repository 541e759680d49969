"""The update of four-turn trees over data, fsdp and tensor is the naive update of one device that repeats every prefix."""

import os
import pathlib
import subprocess
import sys
import textwrap

ROOT = pathlib.Path(__file__).parents[1]

EIGHT_DEVICES = """
    import dataclasses

    import jax, numpy as np
    from flax import nnx
    from recoder_jax import sharding
    from recoder_jax.dialogue.encoder import Encoder, load_tokenizer
    from recoder_jax.dialogue.images import ImageProcessor
    from recoder_jax.learning.batch import Shape, pack, token_weights
    from recoder_jax.learning.step import Objective, batch_loss, place
    from recoder_jax.models.qwen2_5_vl.config import preset
    from recoder_jax.models.qwen2_5_vl.model import abstract_model, create
    from tests.test_learning import four_turns_of, largest_difference, repeated
    assert jax.device_count() == 8
    encoder = Encoder(load_tokenizer('tiny'), ImageProcessor(min_pixels=28 * 28, max_pixels=56 * 84))
    tiny = preset('tiny', vocab=encoder.vocab_size + encoder.vocab_size % 2, image_id=encoder.image_id)
    config = tiny.replace(
        text=dataclasses.replace(tiny.text, layers=1, kv_heads=2), vision=dataclasses.replace(tiny.vision, depth=2, full_attention=(1,)),
        end_id=encoder.end_id, pad_id=encoder.pad_id,
    )
    graphdef = nnx.graphdef(abstract_model(config))
    trees = [four_turns_of(encoder, seed) for seed in range(4)]
    naive = [one for tree in trees for one in repeated(tree)]

    def gradient(trees, rows, mesh):
        batch = pack(trees, token_weights(trees, 'token_mean'), Shape(1, rows, max(tree.size for tree in trees), least_images=16), config.image_id)
        batch = batch if mesh is None else place(batch, mesh)
        params = nnx.state(create(config, 0, mesh))
        loss = lambda params, batch: batch_loss(nnx.merge(graphdef, params), jax.tree.map(lambda x: x[0], batch), Objective(None, 64))[0]
        value, found = jax.jit(jax.value_and_grad(loss))(params, batch)
        q = params['text']['blocks']['q'].get_value()
        assert mesh is None or q.addressable_shards[0].data.size * 4 == q.size, q.sharding
        return float(value), jax.tree.map(np.asarray, found)

    value, expected = gradient(naive, 8, None)
    mesh = sharding.make_mesh(2, 2, 2, 1)
    with jax.set_mesh(mesh):
        sharded, found = gradient(trees, 4, mesh)
    np.testing.assert_allclose(sharded, value, rtol=1e-5)
    assert largest_difference(expected, found) < 1e-5
    print('equal')
"""


def test_eight_devices_update_trees_as_one_updates_repeated_prefixes():
    environment = os.environ | {"XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # compiles sooner
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(EIGHT_DEVICES)], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == "equal", done.stderr[-3000:]
