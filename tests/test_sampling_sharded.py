"""The engine over eight devices says what it says on one, with trees that branch at different turns and rows that change seats on the eight,
and with single rows of blocks taken apart; no cache is whole on a device."""

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
    from recoder_jax.dialogue.turns import Prompts, opening
    from recoder_jax.models.qwen2_5_vl.config import preset
    from recoder_jax.models.qwen2_5_vl.model import abstract_model, create
    from recoder_jax.sampling.functions import Sampler, largest
    from recoder_jax.sampling.places import Request
    from tests.conftest import RandomPolicy, image_of
    from tests.test_sampling import BUCKETS, PROMPTS, play, reply_of, room
    assert jax.device_count() == 8
    encoder = Encoder(load_tokenizer('tiny'), ImageProcessor(min_pixels=28 * 28, max_pixels=56 * 84))
    tiny = preset('tiny', vocab=encoder.vocab_size + encoder.vocab_size % 2, image_id=encoder.image_id)
    config = tiny.replace(
        text=dataclasses.replace(tiny.text, layers=1, kv_heads=2), vision=dataclasses.replace(tiny.vision, depth=2, full_attention=(1,)),
        end_id=encoder.end_id, pad_id=encoder.pad_id,
    )
    graphdef = nnx.graphdef(abstract_model(config))

    def said(mesh, turns, branches=2, apart=None):
        params = nnx.state(create(config, 0, mesh))
        sampler = Sampler(graphdef, config, encoder, dataclasses.replace(BUCKETS, seats=1), mesh, apart, narrow=mesh is not None)
        requests = [
            Request(encoder.prompt(opening(image_of(chart, 56, 28 * (1 + chart % 2)), PROMPTS)), (0, 0, chart), 12, rows=branches, shared=chart % turns)
            for chart in range(9)
        ]
        policy = RandomPolicy(graphdef, params, config, encoder)
        sizes = largest(room(turns, shared, places=8, rows=branches, lanes=4) for shared in range(turns))
        if mesh is not None:
            prefix, rows = sampler.caches(sizes)
            for held in (prefix.k, rows.k):
                assert held.addressable_shards[0].data.size * 8 == held.size, held.sharding
            assert rows.speech.last.addressable_shards[0].data.size * 4 == rows.speech.last.size
        found = play(policy, sampler.load(params), sampler, sizes, requests, turns)
        assert sampler.functions.exchange._cache_size() or mesh is None or branches == 1
        return found

    mesh = sharding.make_mesh(2, 2, 2, 1)
    for case in ({'turns': 3}, {'turns': 1, 'branches': 1, 'apart': True}):
        alone = said(None, **case)
        with jax.set_mesh(mesh):
            together = said(mesh, **case)
        assert alone.keys() == together.keys()
        for key, one in alone.items():
            if len(key) == 3:
                np.testing.assert_array_equal(one.tokens, together[key].tokens)
                np.testing.assert_allclose(one.logprobs, together[key].logprobs, atol=2e-5)
    print('equal')
"""


def test_eight_devices_say_what_one_says():
    environment = os.environ | {"XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(EIGHT_DEVICES)], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == "equal", done.stderr[-3000:]
    assert "Involuntary full rematerialization" not in done.stderr
