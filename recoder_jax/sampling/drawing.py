"""Drawing the next token from logits.

Axes: N rows, V vocabulary.
"""

import dataclasses

import jax
import jax.numpy as jnp


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Controls:
    """How a response is sampled. Numbers, or arrays of one shape with a value for each row.

    temperature: 0 takes the likeliest token. top_p: the smallest set of likeliest tokens of at least this probability; 1 takes all. top_k:
    so many likeliest tokens; 0 takes all. min_p: tokens of at least this share of the likeliest one's probability; 0 takes all.
    penalty: logits of ids that stand in the dialogue are divided by it where positive and multiplied where negative; 1 is off.
    """

    temperature: float | jax.Array = 1.0
    top_p: float | jax.Array = 1.0
    top_k: int | jax.Array = 0
    min_p: float | jax.Array = 0.0
    penalty: float | jax.Array = 1.0

    @property
    def filtered(self) -> bool:
        """Whether some tokens are left out; of numbers."""
        return self.top_p < 1 or self.top_k > 0 or self.min_p > 0

    @staticmethod
    def neutral(shape: tuple[int, ...]) -> "Controls":
        """Arrays of temperature 1."""
        values = (jnp.ones(shape), jnp.ones(shape), jnp.zeros(shape, jnp.int32), jnp.zeros(shape), jnp.ones(shape))
        return Controls(*values)

    def check(self) -> None:
        """Raises ValueError for a number that means nothing."""
        for name, holds, right in (
            ("temperature", 0 <= self.temperature < float("inf"), "at least 0"), ("top_p", 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("top_k", self.top_k >= 0, "at least 0"), ("min_p", 0 <= self.min_p <= 1, "from 0 to 1"),
            ("penalty", 0 < self.penalty < float("inf"), "above 0"),
        ):  # fmt: skip
            if not holds:
                raise ValueError(f"{name} is {getattr(self, name)}; give a number {right}")


def draw(logits, key, said, controls: Controls, forbidden, seen, filtered: bool) -> tuple[jax.Array, jax.Array]:
    """Sample by the Gumbel-max rule.

    Args:
      logits: float32 [N, V].
      key: uint32 [N, 2] of each response; its token n is drawn with fold_in(key, n).
      said: int32 [N], n.
      forbidden: bool [V], ids that are never drawn.
      seen: bool [N, V] for the repetition penalty, or [N, 0] where no row has one.
      filtered: whether a row may leave tokens out. False saves the sort of the vocabulary.

    Returns:
      int32 [N], and float32 [N], log probabilities of these under the full distribution at temperature 1.
    """
    chosen_from = penalised(logits, seen, controls.penalty) if seen.shape[-1] else logits
    scale = jnp.where(controls.temperature > 0, controls.temperature, 1.0)[..., None]
    scaled = jnp.where(forbidden, -jnp.inf, chosen_from) / scale
    if filtered:
        scaled = jnp.where(scaled >= threshold(scaled, controls)[..., None], scaled, -jnp.inf)

    def gumbel(key, said):
        return jax.random.gumbel(jax.random.fold_in(jax.random.wrap_key_data(key), said), logits.shape[-1:])

    sampled = controls.temperature > 0
    noise = jax.lax.cond(sampled.any(), lambda: jax.vmap(gumbel)(key, said), lambda: jnp.zeros_like(logits))
    token = jnp.argmax(scaled + jnp.where(sampled[..., None], noise, 0.0), axis=-1).astype(jnp.int32)
    chosen = jnp.take_along_axis(logits, token[..., None], axis=-1)[..., 0]
    return token, chosen - jax.nn.logsumexp(logits, axis=-1)


def penalised(logits, seen, penalty):
    """The repetition penalty of CTRL (arXiv 1909.05858, section 4.1) over all ids of the dialogue. seen: bool [..., V]; penalty [...]."""
    penalty = penalty[..., None]
    return jnp.where(seen, jnp.where(logits > 0, logits / penalty, logits * penalty), logits)


def threshold(scaled, controls: Controls) -> jax.Array:
    """Least logit that top-k, then top-p of what it left, then min-p let through; equal logits go together. scaled: [N, V] -> [N]."""
    size = scaled.shape[-1]
    ordered = -jnp.sort(-scaled, axis=-1)
    kept = jnp.where(controls.top_k > 0, jnp.minimum(controls.top_k, size), size)
    ordered = jnp.where(jnp.arange(size) < kept[..., None], ordered, -jnp.inf)
    probability = jax.nn.softmax(ordered, axis=-1)
    before = jnp.cumsum(probability, axis=-1) - probability
    # at top_p = 1 rounding of the sum must not cut the tail
    nucleus = (before < controls.top_p[..., None]) | (controls.top_p[..., None] >= 1)
    likely = probability >= controls.min_p[..., None] * probability[..., :1]
    allowed = (nucleus & likely & (ordered > -jnp.inf)).at[..., 0].set(True)
    return jnp.where(allowed, ordered, jnp.inf).min(axis=-1)
