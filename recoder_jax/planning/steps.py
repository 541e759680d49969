"""The steps of a config, compiled: the update, and for RL every device function of a rollout.

What is compiled is what runs: the jitted functions come from the constructors that `train` uses, the abstract batch from the code that
packs real ones, the cache and what is read from the code that the engine lays them out with.
"""

import dataclasses
from collections.abc import Iterator

import jax
import numpy as np
from ml_collections import ConfigDict

from recoder_jax import factory, learner
from recoder_jax.dialogue.encoder import Tokens
from recoder_jax.learning.batch import Batch, Tree, abstract_batch, strand
from recoder_jax.learning.flops import forward_flops, training_flops
from recoder_jax.learning.step import batch_shardings
from recoder_jax.planning.compiling import Compiled, compile_step, held_bytes
from recoder_jax.planning.kernels import Shares, image_share, shares
from recoder_jax.planning.looking import Looking
from recoder_jax.planning.stand_ins import stand_ins, trees_of
from recoder_jax.rollout.play import room_of
from recoder_jax.sampling.cache import Seating, lanes_shapes
from recoder_jax.sampling.layout import Buckets, given_places, given_shapes, size_of
from recoder_jax.sharding import placement


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
    learner: learner.Learner
    turns: int

    def reference(self) -> int:
        """Bytes a chip of the policy that KL is taken to, 0 where it has no weight."""
        if not learner.has_reference(self.config):
            return 0
        return held_bytes(jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, self.config.model.dtype, sharding=x.sharding), self.learner.abstract.params))

    @property
    def looking(self) -> Looking:
        return Looking(self.config, self.mesh)

    def batch(self) -> tuple[Batch, list[Tree]]:
        """The batch of an update, placed, and the trees it holds."""
        trees = trees_of(self.config, self.policy.encoder, self.turns)
        batch = abstract_batch(trees, learner.shape_of(self.config))
        where = batch_shardings(batch, self.mesh)
        return jax.tree.map(lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), batch, where), trees


def planned(config: ConfigDict, devices: list, turns: int) -> Planned:
    """Raises ValueError where the config does not fit the number of devices."""
    mesh = factory.mesh_of(config, devices)
    learner.check_rows(config, mesh)
    policy = factory.policy_of(config)
    return Planned(config, policy, mesh, learner.learner_of(config, policy, mesh), turns)


def steps_of(plan: Planned, only: str) -> Iterator[Step]:
    """The steps, compiled one after the other. only: 'all', 'train' or 'sample'."""
    with jax.set_mesh(plan.mesh):
        batch, trees = plan.batch()
        if only != "sample":
            yield update(plan, batch, trees)
        if plan.config.kind == "rl" and only != "train":
            beside = held_bytes(plan.learner.abstract.optimizer) + held_bytes(batch) + plan.reference() + plan.looking.held
            yield from Rollout(plan, beside).steps()


def update(plan: Planned, batch: Batch, trees: list[Tree]) -> Step:
    """The update, SFT's or RL's."""
    state = plan.learner.abstract
    run = shares(trees, learner.shape_of(plan.config), plan.mesh.shape["sequence"])
    compiled = compile_step(plan.learner.step, {"state": state, "batch": batch}, run)
    trained = sum(int(piece.trained.sum()) for tree in trees for piece, _ in tree.strands())
    updates = plan.config.objective.updates
    flops = updates * training_flops(trees, plan.policy.config, plan.config.optimizer.train_vision)
    return Step("update", 1, trained * updates, flops, plan.reference() + plan.looking.held, compiled)


class Rollout:
    """The device functions of a rollout, with every slot of the cache in use. Where charts branch at different turns, every tree counts the
    shared turns of one that branches last and the others of one that branches first. beside: bytes a chip that a rollout finds in memory."""

    def __init__(self, plan: Planned, beside: int):
        self.config, self.sizes, self.mesh, self.beside = plan.config, plan.policy.config, plan.mesh, beside
        self.observer = plan.looking
        self.trained, self.params = plan.learner.abstract.params, None  # what `load` makes of them
        self.sampler = factory.sampler_of(plan.policy, plan.mesh, Buckets(windows=plan.config.batch.least_windows))
        self.pieces, self.plan = stand_ins(plan.config, plan.policy.encoder), factory.plan_of(plan.config)
        self.room = room_of(self.sampler, factory.slots_of(plan.config), self.plan, len(self.pieces.prompt), plan.config.batch.size)
        self.prefix, self.rows = self.sampler.abstract_caches(self.room)
        self.trees, self.shared, self.own = plan.config.batch.size, self.plan.branch_turns[-1] - 1, self.plan.turns - self.plan.branch_turn + 1

    def steps(self) -> Iterator[Step]:
        """In the order in which a tree meets them."""
        functions, room, plan, own = self.sampler.functions, self.room, self.plan, self.own
        yield self.load()
        first, turn = len(self.pieces.prompt), plan.response_tokens + plan.feedback_tokens
        seen = first + (plan.turns - own) * turn
        yield self.reading("read prompts", functions.start, {"cache": self.prefix, "speech": self.rows.speech}, self.pieces.prompt, self.trees, 0)
        if self.shared:
            yield self.decoding("decode shared", 1, self.shared, first, self.sampler.bound(room.shared_slots, room.suffix))
            cache, bounds = {"cache": self.prefix, "said": (self.rows.k, self.rows.v), "speech": self.rows.speech}, {"most": room.shared_slots, "bound": room.prefix}
            behind = first + self.shared * turn - plan.feedback_tokens
            yield self.reading("read shared feedback", functions.proceed, cache, self.pieces.feedback, self.trees * self.shared, behind, **bounds)
        yield self.decoding("decode", room.rows, own, seen, room.suffix)
        if own > 1:
            cache, bounds = {"prefix": self.prefix, "cache": self.rows}, (room.prefix, room.suffix)
            rows, behind = self.trees * room.rows * (own - 1), seen + plan.response_tokens
            yield self.reading("read feedback", functions.append, cache, self.pieces.feedback, rows, behind, bounds=bounds)
        if self.observer.state is not None:
            yield self.look()

    def look(self) -> Step:
        """A call of what looks at renders, while dialogues are sampled."""
        observer = self.observer
        renders = self.trees * (self.shared + self.own * self.room.rows)
        beside = self.besides({}) - observer.held + held_bytes(self.params)
        return Step("look at renders", observer.runs(renders, self.trees), observer.mesh.size, observer.flops(), beside, observer.compiled())

    def load(self) -> Step:
        """The sampler's copy of the weights; from here on the trained ones lie beside it."""
        compiled = compile_step(self.sampler.functions.load, {"parameters": self.trained})
        step = Step("load", 1, 0, 0.0, self.beside, compiled)
        self.beside += held_bytes(self.trained)
        self.params = compiled.result
        return step

    def besides(self, cache: dict) -> int:
        """Bytes a chip that a step does not take as arguments: what a rollout finds, and the caches it does not use."""
        return self.beside + held_bytes((self.prefix, self.rows)) - held_bytes(list(cache.values()))

    def reading(self, name: str, function, cache: dict, piece: Tokens, pieces: int, seen: int, **bounds) -> Step:
        """A call that reads `piece` on every lane, behind rows that have seen `seen` tokens; `pieces` are read in a rollout."""
        size = size_of(piece, self.sampler.buckets)
        given = given_shapes(self.room.lanes, size)
        given = jax.tree.map(lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), given, given_places(given, self.mesh))
        lanes = jax.tree.map(self.placed, lanes_shapes(self.room.lanes, self.room.rows))
        grids = [image.grid for image in piece.images]
        share = Shares(image_slots=image_share(grids, size.windows))
        compiled = compile_step(function, {"parameters": self.params, **cache, "given": given, "lanes": lanes}, share, **bounds)
        text, vision = forward_flops([Tree(strand([(piece, False, None)]), (), (0.0,))], self.sizes)
        tokens = self.room.lanes * len(piece)
        flops = self.room.lanes * (text + vision) + tokens * (self.sizes.flops_per_token(seen, False) - self.sizes.flops_per_token(0, False))
        return Step(name, -(-pieces // self.room.lanes), tokens, flops, self.besides(cache), compiled)

    def decoding(self, name: str, rows: int, turns: int, seen: int, slots: int) -> Step:
        """Decoding `rows` of every tree; figures that count work are of one token of each."""
        room, limit, shards = self.room, self.plan.response_tokens, self.sampler.shards
        count = shards * self.sampler.seats(room, name == "decode shared", min(room.places * rows, room.seats) // shards)
        seating = Seating(*(jax.ShapeDtypeStruct(*one) for one in (((count,), np.bool_), ((count,), np.int32), ((room.places, rows), np.int32))))
        arguments = {"parameters": self.params, "prefix": self.prefix, "cache": self.rows, "seating": jax.tree.map(self.placed, seating)}
        decode, bounds = self.sampler.functions.decode, (room.prefix, slots)
        compiled = compile_step(decode, arguments, steps=room.chunk, bounds=bounds, filtered=False)
        count = min(room.places * rows, room.seats)
        flops = count * self.sizes.flops_per_token(seen + limit / 2)
        runs = turns * limit * -(-self.trees // min(room.places, room.seats // room.rows))
        return Step(name, runs, count, flops, self.besides({"prefix": self.prefix, "cache": self.rows}), compiled)

    def placed(self, x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        """An array whose first axis is places, seats or lanes."""
        where = placement(x.shape, ("batch", *[None] * (len(x.shape) - 1)), self.mesh)
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where)
