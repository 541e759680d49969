"""A policy with random weights to sample from, in responses of a given length: the end token is never drawn."""

import dataclasses
import time
from collections.abc import Sequence

import jax
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from recoder_jax import factory
from recoder_jax.dialogue.encoder import Encoder, Tokens
from recoder_jax.models.qwen2_5_vl.model import abstract_model
from recoder_jax.planning.stand_ins import StandIns, stand_ins
from recoder_jax.sampling.engine import Engine
from recoder_jax.sampling.functions import Room, Sampler
from recoder_jax.sampling.layout import Buckets
from recoder_jax.sampling.places import Request


class Endless:
    """What a sampler reads of an encoder, without an end of responses."""

    end_id = -1

    def __init__(self, encoder: Encoder):
        self._encoder = encoder

    def forbidden_ids(self, vocab_size: int) -> np.ndarray:
        return np.append(self._encoder.forbidden_ids(vocab_size), self._encoder.end_id)


@dataclasses.dataclass(frozen=True)
class Sampled:
    """A sampler on a mesh, its weights, and the pieces its dialogues are made of. trained: the weights as training holds them."""

    policy: factory.Policy
    mesh: jax.sharding.Mesh
    sampler: Sampler
    trained: nnx.State
    params: nnx.State
    pieces: StandIns

    def prompt(self, length: int) -> Tokens:
        """The prompt of a chart whose image is at the config's cap, where `length` is 0; else so many tokens of text."""
        if length == 0:
            return self.pieces.fresh(self.pieces.prompt)
        ids = self.policy.encoder.encode("plot the data of the chart ") * length
        return Tokens(np.array(ids[:length], np.int32))


def sampled_policy(config: ConfigDict) -> Sampled:
    """Raises ValueError where the config does not fit the devices."""
    mesh, policy = factory.mesh_of(config), factory.policy_of(config)
    with jax.set_mesh(mesh):
        trained = factory.initial_params(config, policy, mesh)
        sizes = policy.config.replace(unroll=1)
        buckets = Buckets(windows=config.batch.least_windows)
        sampler = Sampler(nnx.graphdef(abstract_model(sizes)), sizes, Endless(policy.encoder), buckets, mesh)
        return Sampled(policy, mesh, sampler, trained, sampler.load(trained), stand_ins(config, policy.encoder))


def run_to_end(sampled: Sampled, room: Room, requests: Sequence[Request], feedback: Sequence[Tokens] = ()) -> float:
    """Seconds until every row of the requests has said a response and, after each feedback, another one."""
    with jax.set_mesh(sampled.mesh):
        engine = Engine(sampled.sampler, sampled.params, room)
        began = time.perf_counter()
        for request in requests:
            engine.submit(request)
        while engine.busy:
            for said in engine.step():
                if said.turn <= len(feedback):
                    engine.feed(said.request, said.row, feedback[said.turn - 1])
                else:
                    engine.release(said.request, said.row)
        return time.perf_counter() - began
