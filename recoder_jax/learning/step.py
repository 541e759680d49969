"""The one update of SFT and RL. Mathematics in `batch_loss`, plumbing (jit, sharding, donation) in `make_step`.

Axes: A micro-batches, R rows, S tokens of a row, T trained tokens of a row, I images, M merged tokens, D model, V vocabulary.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.experimental import multihost_utils

from recoder_jax.learning.batch import Batch
from recoder_jax.learning.objective import Clip, kl_estimate, on_policy, sequence_log_ratio, surrogate, truncated_weight
from recoder_jax.models.weights import is_variable
from recoder_jax.sharding import constrain, placement


QUANTILES = (0.0, 0.01, 0.5, 0.99, 1.0)  # of the ratio of the trained to the sampling policy
# On a CPU XLA otherwise copies both moments at every step, because new parameters read the old ones too (docs/policy.md).
IN_PLACE = {"xla_cpu_copy_insertion_use_region_analysis": True}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything a step changes. params: nnx.State. optimizer: optax state. step: int32 [], steps done."""

    params: nnx.State
    optimizer: optax.OptState
    step: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Measured:
    """Sums over the trained tokens of a batch.

    objective: weighted surrogate, less KL. nll, entropy, gap, clipped, kl: sums of -log pi, entropy, |log pi - sampler's log pi|,
    tokens whose ratio the clip holds, and the estimate of KL to the reference. tokens: trained tokens.
    """

    objective: jax.Array
    nll: jax.Array
    entropy: jax.Array
    gap: jax.Array
    clipped: jax.Array
    kl: jax.Array
    tokens: jax.Array


@dataclasses.dataclass(frozen=True)
class Objective:
    """What an update minimises and how. clip: bounds of the ratio, None on-policy. chunk: trained tokens of a row whose logits
    are held at once. train_vision: whether gradients reach the vision tower. updates: on each batch. sequence_ratio: one ratio a
    response instead of one a token, read with a clip. truncate: bound of the weight for the sampler's gap, 0 weighs nothing. kl: its
    estimator, '' without a reference. kl_in_loss: whether it is subtracted from the surrogate or only measured."""

    clip: Clip | None = None
    chunk: int = 1024
    train_vision: bool = True
    updates: int = 1
    sequence_ratio: bool = False
    truncate: float = 0.0
    kl: str = ""
    kl_in_loss: bool = False


def batch_logprobs(model, batch: Batch, objective: Objective) -> tuple[jax.Array, jax.Array]:
    """Log probability of each trained token of one micro-batch and entropy of its distribution, float32 [R, T] twice."""
    features = model.encode_images(batch.vision)  # [I, M, D]
    if not objective.train_vision:
        features = jax.lax.stop_gradient(features)
    x = model.embed(batch.tokens, features.reshape(-1, features.shape[-1]), batch.image_slot)  # [R, S, D]
    x = model.hidden(x, batch.positions, batch.segment, batch.prefix)  # [R, S, D]
    x = jnp.take_along_axis(x, batch.source[..., None], axis=1)  # [R, T, D]
    return target_logprobs(model, x, batch.target, objective.chunk)


def batch_loss(model, batch: Batch, objective: Objective) -> tuple[jax.Array, tuple[Measured, jax.Array]]:
    """`-sum_t weight_t * (surrogate_t - anchor_t * kl_t)` of one micro-batch (arrays of Batch without the leading axis A), what is
    measured, and the ratio of each trained token to the sampler's policy, float32 [R, T], NaN on padding."""
    clip = objective.clip
    logprob, entropy = batch_logprobs(model, batch, objective)
    trained = batch.weight > 0
    if clip is None:
        log_ratio = on_policy(logprob)
    elif objective.sequence_ratio:
        log_ratio = sequence_log_ratio(logprob, batch.logprob, batch.strand, trained, batch.tokens.shape[-1] + 1)
    else:
        log_ratio = logprob - batch.logprob
    value = surrogate(log_ratio, batch.advantage, clip)
    if objective.truncate:
        value = value * truncated_weight(logprob, batch.logprob, objective.truncate)
    kl = kl_estimate(logprob, batch.reference, objective.kl) if objective.kl else jnp.zeros_like(logprob)
    if objective.kl_in_loss:
        value = value - batch.anchor * kl
    gain = jnp.sum(batch.weight * value)
    held = jnp.zeros_like(trained)
    if clip is not None:
        held = jnp.where(batch.advantage > 0, log_ratio > jnp.log1p(clip.high), log_ratio < jnp.log1p(-clip.low))

    def total(x):
        return jax.lax.stop_gradient(jnp.sum(jnp.where(trained, x, 0.0)))

    measured = Measured(
        objective=jax.lax.stop_gradient(gain), nll=total(-logprob), entropy=total(entropy),
        gap=total(jnp.abs(logprob - batch.logprob)), clipped=total(held), kl=total(kl), tokens=total(1.0),
    )
    ratio = jax.lax.stop_gradient(jnp.where(trained, jnp.exp(logprob - batch.logprob), jnp.nan))
    return -gain, (measured, ratio)


def target_logprobs(model, x, target, chunk: int):
    """Log probability of each target and entropy of its distribution, `chunk` tokens of a row at a time.

    x: [R, T, D]. target: int32 [R, T]. Returns float32 [R, T] twice. Logits of one chunk [R, chunk, V] are the largest
    array; they are made again in the backward pass.
    """
    rows, count, width = x.shape
    chunk = min(chunk, count)
    padded = -(-count // chunk) * chunk
    # a chunk takes every n-th token, so that each device of the sequence axis has its share of every chunk
    x = jnp.pad(constrain(x, ("batch", "sequence", None)), ((0, 0), (0, padded - count), (0, 0)))
    x = jnp.moveaxis(x.reshape(rows, chunk, -1, width), 2, 0)  # [n, R, chunk, D]
    goal = jnp.moveaxis(jnp.pad(target, ((0, 0), (0, padded - count))).reshape(rows, chunk, -1), 2, 0)

    @jax.checkpoint
    def one(args):
        x, goal = args
        logits = model.logits(x)  # [R, chunk, V]
        logprobs = jax.nn.log_softmax(logits)
        chosen = jnp.take_along_axis(logprobs, goal[..., None], axis=-1)[..., 0]
        return chosen, -jnp.sum(jax.lax.stop_gradient(jnp.exp(logprobs) * logprobs), axis=-1)

    outputs = jax.lax.map(one, (x, goal))
    return tuple(jnp.moveaxis(out, 0, 2).reshape(rows, padded)[:, :count] for out in outputs)


def update(graphdef, optimizer, state: TrainState, batch: Batch, objective: Objective, shardings: TrainState | None):
    """One optimizer step over all micro-batches; weights are global, so gradients of micro-batches add up. Gradients lie where their
    parameters lie: left to the compiler, the sum over micro-batches is whole on every device. When the objective or the norm of the gradient
    is not finite, parameters and moments stay as they were.

    Returns the state, what is measured, the norm of the gradient, and QUANTILES of the ratio to the sampler's policy.
    """

    def loss(params, part):
        return batch_loss(nnx.merge(graphdef, params), part, objective)

    def placed(gradients):
        return gradients if shardings is None else jax.lax.with_sharding_constraint(gradients, shardings.params)

    def accumulate(carry, part):
        gradients, measured = carry
        (_, (one, ratio)), part_gradients = jax.value_and_grad(loss, has_aux=True)(state.params, part)
        return (placed(jax.tree.map(jnp.add, gradients, placed(part_gradients))), jax.tree.map(jnp.add, measured, one)), ratio

    first = jax.tree.map(lambda x: x[0], batch)
    if batch.tokens.shape[0] == 1:
        (_, (measured, ratio)), gradients = jax.value_and_grad(loss, has_aux=True)(state.params, first)
    else:
        shapes = jax.eval_shape(jax.value_and_grad(loss, has_aux=True), state.params, first)
        gradients, measured = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), (shapes[1], shapes[0][1][0]))
        (gradients, measured), ratio = jax.lax.scan(accumulate, (placed(gradients), measured), batch)
    changes, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
    params, norm = optax.apply_updates(state.params, changes), optax.tree.norm(gradients)
    finite = jnp.isfinite(norm) & jnp.isfinite(measured.objective)
    params, optimizer_state = jax.tree.map(lambda new, old: jnp.where(finite, new, old), (params, optimizer_state), (state.params, state.optimizer))
    return TrainState(params, optimizer_state, state.step), measured, norm, jnp.nanquantile(ratio, jnp.array(QUANTILES))


def make_step(graphdef, optimizer, objective: Objective, shardings):
    """The jitted step (state, batch) -> (state, Measured, gradient norm, quantiles): the objective's updates on one batch; read `update`.

    The state is donated and keeps `shardings`. Measured is the mean over the updates, but for the gap, which is the sampler's
    only before the first of them; the norm and the quantiles are the last update's, the norm not finite if that of any of them is: an update
    that was left out is met again by the next one on the same batch.
    """

    def step(state, batch):
        state, measured, norm, quantiles = update(graphdef, optimizer, state, batch, objective, shardings)
        gap = measured.gap
        for _ in range(objective.updates - 1):
            state, again, norm, quantiles = update(graphdef, optimizer, state, batch, objective, shardings)
            measured = jax.tree.map(jnp.add, measured, again)
        measured = dataclasses.replace(jax.tree.map(lambda x: x / objective.updates, measured), gap=gap)
        return dataclasses.replace(state, step=state.step + 1), measured, norm, quantiles

    devices = jax.devices() if shardings is None else shardings.step.mesh.devices.flat
    options = IN_PLACE if devices[0].platform == "cpu" else None
    return jax.jit(step, donate_argnums=0, out_shardings=(shardings, None, None, None), compiler_options=options)


def make_scorer(graphdef, objective: Objective, mesh: jax.sharding.Mesh | None = None) -> Callable:
    """The jitted (parameters, batch) -> log probability of each trained token, float32 [A, R, T], one micro-batch at a time."""

    def score(params, batch):
        def one(part):
            return batch_logprobs(nnx.merge(graphdef, params), part, objective)[0]

        return jax.lax.map(one, batch)

    return jax.jit(score, out_shardings=None if mesh is None else jax.NamedSharding(mesh, jax.P(None, ("data", "fsdp"))))


def initial_state(params: nnx.State, optimizer, shardings: TrainState) -> TrainState:
    """Step 0. Moments are created where the parameters they belong to lie."""
    moments = jax.jit(optimizer.init, out_shardings=shardings.optimizer)(params)
    return TrainState(params, moments, jax.device_put(jnp.int32(0), shardings.step))


def moments_in(state: TrainState, shardings: TrainState, memory: str) -> TrainState:
    """The state with the optimizer's moments in `memory`, 'device' or 'pinned_host'; the old ones are free once nobody holds the old state."""
    where = jax.tree.map(lambda one: one.with_memory_kind(memory), shardings.optimizer)
    return dataclasses.replace(state, optimizer=jax.device_put(state.optimizer, where))


def place(batch: Batch, mesh: jax.sharding.Mesh) -> Batch:
    """Put a batch on the devices of a mesh: rows and images over the batch axes, tokens of a row over the sequence axis, whole where these
    do not divide them. Of several processes each gives its own rows and images, one behind the other in the whole."""
    processes = jax.process_count()
    if processes == 1:
        return jax.tree.map(jax.device_put, batch, batch_shardings(batch, mesh))
    grown = {f.name: 2 if f.name == "positions" else 1 for f in dataclasses.fields(batch)}  # the axis of rows or images

    def whole(name, x):
        shape = tuple(size * processes if axis == grown[name] else size for axis, size in enumerate(x.shape))
        return jax.ShapeDtypeStruct(shape, x.dtype)

    abstract = Batch(**{name: jax.tree.map(lambda x, name=name: whole(name, x), getattr(batch, name)) for name in grown})
    return jax.tree.map(
        lambda x, to, like: jax.make_array_from_process_local_data(to, np.asarray(x), like.shape), batch, batch_shardings(abstract, mesh), abstract
    )


def own_rows(values: jax.Array, mesh: jax.sharding.Mesh) -> np.ndarray:
    """This process's rows of numbers [A, R, T] over a mesh."""
    return np.asarray(multihost_utils.global_array_to_host_local_array(values, mesh, jax.P(None, ("data", "fsdp"))))


def batch_shardings(batch: Batch, mesh: jax.sharding.Mesh) -> Batch:
    """Where `place` puts the arrays of a real or abstract batch."""
    tokens, images = (None, "batch", "sequence"), (None, "batch")

    def where(name: str, x) -> jax.NamedSharding:
        axes = {"positions": (None, *tokens), "vision": images + (None,) * (len(x.shape) - 2)}.get(name, tokens)
        return placement(x.shape, axes, mesh)

    fields = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch)}
    return Batch(**{name: jax.tree.map(lambda x: where(name, x), value) for name, value in fields.items()})


def make_optimizer(
    learning_rate: float, steps: int, warmup: int, schedule: str, weight_decay: float, clip_norm: float, b1: float, b2: float,
    train_vision: bool = True, moment_dtype: str = "float32",
):
    """AdamW with warm-up from rate / (warmup + 1), then a constant or a cosine rate; gradients clipped by global norm.
    Matrices decay, nothing else; those of a vision tower that is not trained do not. First moments are of `moment_dtype`.

    Returns (optimizer, rate) with `rate(step)` the learning rate of that update.
    """
    first = learning_rate / (warmup + 1)
    if schedule == "cosine":
        rate = optax.warmup_cosine_decay_schedule(first, learning_rate, warmup, max(steps, warmup + 1), 0.05 * learning_rate)
    elif schedule == "constant":
        rate = optax.join_schedules([optax.linear_schedule(first, learning_rate, warmup), optax.constant_schedule(learning_rate)], [warmup])
    else:
        raise ValueError(f"optimizer.schedule is {schedule!r}; choose cosine or constant")

    def matrices(params):
        def decays(leaf):
            row = leaf.get_metadata()["row"]
            return leaf.replace(row.inputs > 0 and (train_vision or not row.name.startswith("visual.")))

        return jax.tree.map(decays, params, is_leaf=is_variable)

    def clipped(gradients, params=None):
        norm = optax.tree.norm(gradients)
        factor = jnp.where(norm < clip_norm, 1.0, clip_norm / norm)      # one factor; optax divides every number, which XLA stores for a CPU
        return jax.tree.map(lambda x: x * factor.astype(x.dtype), gradients)

    adamw = optax.adamw(rate, b1=b1, b2=b2, weight_decay=weight_decay, mask=matrices, mu_dtype=moment_dtype)
    return optax.chain(optax.stateless(clipped), adamw), rate
