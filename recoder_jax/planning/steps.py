"""The steps of a config, compiled: the update, and for RL every device function of a rollout in the order of `rollout.play`.

What is compiled is what runs: the jitted functions come from the constructors that `train` uses, the abstract batch from the code that
packs real ones, the cache from the shardings that the compiler chose for the function before.
"""

import dataclasses
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from recoder_jax import factory, train
from recoder_jax.learning.batch import Batch, Tree, abstract_batch, strand
from recoder_jax.learning.flops import forward_flops, training_flops
from recoder_jax.learning.step import batch_shardings
from recoder_jax.planning.compiling import Compiled, compile_step, held_bytes
from recoder_jax.planning.kernels import Shares, image_share, shares
from recoder_jax.planning.stand_ins import stand_ins, trees_of
from recoder_jax.sampling.engine import row_keys


@dataclasses.dataclass(frozen=True)
class Step:
    """name: of the step, with its turn. runs: executions an update of `batch.size`. tokens: that one execution trains, reads or draws,
    on all chips. rule_flops: of one execution by the rule of `learning.flops`. beside: bytes a chip that lie in memory while it runs and
    are none of its arguments."""

    name: str
    runs: int
    tokens: int
    rule_flops: float
    beside: int
    compiled: Compiled


@dataclasses.dataclass(frozen=True)
class Planned:
    """A policy and a learner on a mesh, abstract."""

    config: ConfigDict
    policy: factory.Policy
    mesh: jax.sharding.Mesh
    learner: train.Learner
    turns: int

    def batch(self) -> tuple[Batch, list[Tree]]:
        """The batch of an update, placed, and the trees it holds."""
        trees = trees_of(self.config, self.policy.encoder, self.turns)
        batch = abstract_batch(trees, train.shape_of(self.config))
        where = batch_shardings(batch, self.mesh)
        return jax.tree.map(lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), batch, where), trees


def planned(config: ConfigDict, devices: list, turns: int) -> Planned:
    """Raises ValueError where the config does not fit the number of devices."""
    mesh = factory.mesh_of(config, devices)
    train.check_rows(config, mesh)
    policy = factory.policy_of(config)
    return Planned(config, policy, mesh, train.learner_of(config, policy, mesh), turns)


def steps_of(plan: Planned, only: str) -> Iterator[Step]:
    """The steps, compiled one after the other. only: 'all', 'train' or 'sample'."""
    with jax.set_mesh(plan.mesh):
        batch, trees = plan.batch()
        if only != "sample":
            yield update(plan, batch, trees)
        if plan.config.kind == "rl" and only != "train":
            beside = held_bytes(plan.learner.abstract.optimizer) + held_bytes(batch)
            yield from Rollout(plan, beside).steps()


def update(plan: Planned, batch: Batch, trees: list[Tree]) -> Step:
    """The update, SFT's or RL's."""
    state = plan.learner.abstract
    run = shares(trees, train.shape_of(plan.config), plan.mesh.shape["sequence"])
    compiled = compile_step(plan.learner.step, {"state": state, "batch": batch}, run)
    trained = sum(int(piece.trained.sum()) for tree in trees for piece, _ in tree.strands())
    updates = plan.config.objective.updates
    flops = updates * training_flops(trees, plan.policy.config, plan.config.optimizer.train_vision)
    return Step("update", 1, trained * updates, flops, 0, compiled)


class Rollout:
    """The device functions of a rollout of `rollout.charts` charts. beside: bytes a chip that a rollout finds in memory."""

    def __init__(self, plan: Planned, beside: int):
        self.config, self.sizes, self.mesh, self.beside = plan.config, plan.policy.config, plan.mesh, beside
        self.trained = plan.learner.abstract.params
        self.params = None  # what `load` makes of them
        self.sampler = factory.sampler_of(plan.policy, plan.mesh, plan.config.batch.least_windows)
        self.pieces = stand_ins(plan.config, plan.policy.encoder)
        self.charts = plan.config.rollout.charts
        self.times = plan.config.batch.size // self.charts

    def steps(self) -> Iterator[Step]:
        """In the order of `Player.play`."""
        plan, functions, rows, seen = factory.plan_of(self.config), self.sampler.functions, 1, len(self.pieces.prompt)
        yield self.load()
        step, cache = self.given("prefill", functions.start, {}, [[self.pieces.fresh(self.pieces.prompt)] for _ in range(self.charts)], 0)
        yield step
        for turn in range(1, plan.turns + 1):
            if turn in (1, plan.branch_turn):
                rows, slots = plan.opened(turn, self.sampler.buckets.length(plan.feedback_tokens))
                slots = self.sampler.buckets.length(slots)
                compiled = compile_step(functions.branch, {"cache": cache}, group=rows, slots=slots)
                yield Step(f"branch {turn}", self.times, 0, 0.0, self.beside + held_bytes(self.params), compiled)
                cache = self.cache_of(compiled, compiled.result)
            step, cache = self.decode(turn, cache, rows, seen)
            yield step
            seen += plan.response_tokens
            if turn < plan.turns:
                pieces = [[self.pieces.fresh(self.pieces.feedback) for _ in range(rows)] for _ in range(self.charts)]
                step, cache = self.given(f"append {turn}", functions.append, {"cache": cache}, pieces, seen)
                yield step
                seen += plan.feedback_tokens

    def load(self) -> Step:
        """The sampler's copy of the weights; from here on the trained ones lie beside it."""
        compiled = compile_step(self.sampler.functions.load, {"parameters": self.trained})
        step = Step("load", 1, 0, 0.0, self.beside, compiled)
        self.beside += held_bytes(self.trained)
        self.params = compiled.result
        return step

    def given(self, name: str, function, cache: dict, pieces: list, seen: int) -> tuple[Step, object]:
        """Prefill, or the appending of feedback to rows that have seen `seen` tokens."""
        arguments = {"parameters": self.params, **cache, "given": self.sampler.abstract_given(pieces)}
        grids = [image.grid for row in pieces for piece in row for image in piece.images]
        compiled = compile_step(function, arguments, Shares(image_slots=image_share(grids, arguments["given"].vision.patches.shape[1])))
        tokens = sum(len(piece) for row in pieces for piece in row)
        text, vision = forward_flops([Tree(strand([(pieces[0][0], False, None)]), (), (0.0,))], self.sizes)
        rows = self.charts * len(pieces[0])
        flops = rows * (text + vision) + tokens * (self.sizes.flops_per_token(seen, False) - self.sizes.flops_per_token(0, False))
        return Step(name, self.times, tokens, flops, self.beside, compiled), self.cache_of(compiled, compiled.result)

    def decode(self, turn: int, cache, rows: int, seen: int) -> tuple[Step, object]:
        """Decoding; figures that count work are of one token of every row."""
        count, limit = self.charts * rows, self.config.rollout.response_tokens
        keys = jax.eval_shape(lambda charts: row_keys(0, 0, charts, turn, rows), jax.ShapeDtypeStruct((self.charts,), jnp.int32))
        temperature = jax.ShapeDtypeStruct((), jnp.float32)
        arguments = {"parameters": self.params, "cache": cache, "keys": keys, "temperature": temperature}
        compiled = compile_step(self.sampler.functions.decode, arguments, steps=limit)
        flops = count * self.sizes.flops_per_token(seen + limit / 2)
        return Step(f"decode {turn}", self.times * limit, count, flops, self.beside, compiled), self.cache_of(compiled, compiled.result[0])

    def cache_of(self, compiled: Compiled, cache):
        """The cache that a step hands to the next one, placed as the compiler chose; by charts over the batch axes where it refused."""
        if not compiled.refused:
            return cache
        share = self.mesh.shape["data"] * self.mesh.shape["fsdp"]

        def where(x):
            axis = 1 if len(x.shape) >= 5 else 0  # keys and values have a leading axis of layers
            split = len(x.shape) > 0 and x.shape[axis] % share == 0
            entries = [("data", "fsdp") if split and place == axis else None for place in range(len(x.shape))]
            return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=jax.NamedSharding(self.mesh, jax.P(*entries)))

        return jax.tree.map(where, cache)
