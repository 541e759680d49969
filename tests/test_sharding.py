"""One table places every weight; a sharded policy computes what a policy on one device computes."""

import os
import pathlib
import subprocess
import sys
import textwrap

import jax
import pytest
from flax import nnx
from jax.sharding import PartitionSpec as P

from recoder_jax import sharding
from recoder_jax.models import weights
from recoder_jax.models.qwen2_5_vl.config import preset
from recoder_jax.models.qwen2_5_vl.model import abstract_model

ROOT = pathlib.Path(__file__).parents[1]


class FakeMesh:
    """Sizes only: what `spec` and the divisibility check read."""

    def __init__(self, **shape):
        self.shape = shape


def test_logical_axes_become_mesh_axes():
    assert sharding.spec(('layers', 'embed', 'mlp')) == P(None, ('fsdp', 'sequence'), ('tensor',))
    assert sharding.spec(('batch', None)) == P(('data', 'fsdp'), None)


def test_an_unknown_axis_is_refused():
    with pytest.raises(ValueError, match="'widht'"):
        sharding.spec(('widht',))


def test_two_dimensions_on_one_mesh_axis_are_refused():
    with pytest.raises(ValueError, match="'fsdp' on two dimensions"):
        sharding.spec(('batch', 'embed'))


def test_an_indivisible_dimension_is_refused_with_the_remedy():
    mesh = FakeMesh(data=1, fsdp=1, tensor=8, sequence=1)
    with pytest.raises(ValueError, match='kv_heads has size 4, which tensor = 8 does not divide; use a tensor size'):
        sharding.sharding((3584, 4, 7, 128), ('embed', 'kv_heads', 'queries_per_kv', 'head'), mesh, 'q_proj')


def test_a_mesh_that_does_not_cover_the_devices_is_refused():
    with pytest.raises(ValueError, match='does not cover 1 devices'):
        sharding.make_mesh(data=3, fsdp=1, devices=jax.devices()[:1])
    with pytest.raises(ValueError, match='at most one -1'):
        sharding.make_mesh(data=-1, fsdp=-1)


def test_every_weight_of_every_size_has_known_axes():
    for name in ('tiny', '3b', '7b', '72b'):
        for leaf, row in weights.rows(nnx.state(abstract_model(preset(name)))):
            assert len(sharding.spec(row.axes)) == len(leaf.get_value().shape), row.name


def test_constrain_is_nothing_without_a_mesh_and_checks_ranks():
    x = jax.numpy.ones((2, 3))
    assert sharding.constrain(x, ('batch', None)) is x
    with pytest.raises(ValueError, match=r'shape \(2, 3\)'):
        sharding.constrain(x, ('batch',))


EIGHT_DEVICES = """
    import dataclasses
    import sys

    import jax, jax.numpy as jnp, numpy as np
    from flax import nnx
    from recoder_jax import sharding
    from recoder_jax.models import huggingface, store
    from recoder_jax.models.qwen2_5_vl.model import abstract_model, create
    from tests.parity import batch_rows, dialogues, small_config
    assert jax.device_count() == 8
    config = small_config()
    vision = dataclasses.replace(config.vision, depth=2, full_attention=(1,))
    config = config.replace(vision=vision, text=dataclasses.replace(config.text, layers=2), remat='blocks')
    ids, images = dialogues(config)
    rows = batch_rows(config, ids * 4, images * 4, length=96)
    vision = jax.tree.map(lambda a: np.concatenate([a, a[:3]]), rows[0])  # 16 images

    def step_of(config):
        graphdef = nnx.graphdef(abstract_model(config))

        def loss(state, vision, tokens, slots, positions, segment):
            model = nnx.merge(graphdef, state)
            features = model.encode_images(vision).reshape(-1, config.text.hidden)
            x = model.embed(tokens, features, slots)
            logits = model.logits(model.hidden(x, positions, segment, jnp.zeros_like(segment)))
            real = (segment > 0)[..., None]
            return jnp.sum(jnp.sin(logits) * real) / logits.size, jnp.where(real, logits, 0)

        return jax.jit(jax.value_and_grad(loss, has_aux=True))

    alone = nnx.state(create(config, 0))
    (value, logits), gradient = step_of(config)(alone, vision, *rows[1:])
    host = jax.tree.map(np.asarray, gradient)
    for sizes, backend in (((2, 2, 2, 1), 'xla'), ((1, 8, 1, 1), 'xla'), ((1, 2, 2, 2), 'splash_interpret'), ((1, 2, 1, 4), 'xla')):
        mesh = sharding.make_mesh(*sizes)
        state = nnx.state(create(config, 0, mesh))
        for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(state), strict=True):
            np.testing.assert_array_equal(a, b)
        put = lambda a, *axes: jax.device_put(a, sharding.placement(a.shape, axes + (None,) * (a.ndim - len(axes)), mesh))
        tokens = ('batch', 'sequence')
        arrays = (jax.tree.map(lambda a: put(a, 'batch'), vision), put(rows[1], *tokens), put(rows[2], *tokens),
                  put(rows[3], None, *tokens), put(rows[4], *tokens))
        with jax.set_mesh(mesh):
            (sharded_value, sharded_logits), sharded = step_of(config.replace(attention=backend))(state, *arrays)
        np.testing.assert_allclose(value, sharded_value, atol=1e-6)
        np.testing.assert_allclose(logits, sharded_logits, atol=2e-5)
        for a, b in zip(*map(jax.tree.leaves, (host, sharded)), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
        q = state['text']['blocks']['q'].get_value()
        parts = mesh.shape['fsdp'] * mesh.shape['tensor'] * mesh.shape['sequence']
        assert q.addressable_shards[0].data.size * parts == q.size
        print(sizes, 'values equal', flush=True)
    huggingface.export_policy(sys.argv[1] + '/hf', config, state)
    _, loaded = huggingface.import_policy(sys.argv[1] + '/hf', mesh)
    store.save_policy(sys.argv[1] + '/policy', config, state)
    _, stored = store.load_policy(sys.argv[1] + '/policy', mesh)
    for a, b, c in zip(*map(jax.tree.leaves, (state, loaded, stored)), strict=True):
        assert a.sharding == b.sharding == c.sharding and (a == b).all() and (a == c).all()
    print('files equal')
"""


def test_eight_devices_compute_what_one_computes(tmp_path):
    """Logits, gradients, initial weights and files on 8 devices over every axis of a mesh, with the TPU's kernel among the backends; no
    involuntary rematerialization is reported."""
    environment = {
        **os.environ,
        'JAX_PLATFORMS': 'cpu',
        'XLA_FLAGS': os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=8",
        'PYTHONPATH': str(ROOT),
        'TF_CPP_MIN_LOG_LEVEL': '0',
    }
    run = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(EIGHT_DEVICES), str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.count('equal') == 5
    assert 'Involuntary full rematerialization' not in run.stderr, run.stderr[-3000:]
