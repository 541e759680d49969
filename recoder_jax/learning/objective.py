"""Advantages and the policy objective as pure functions of arrays.

Axes: N groups, G trajectories of a group; token arrays have any shape.
"""

import dataclasses

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Clip:
    """Bounds of the importance ratio when a batch is used for several updates (DAPO's clip-higher allows low != high;
    `dual` bounds the loss of negative advantages, arXiv 1912.09729; 0 turns it off)."""

    low: float = 0.2
    high: float = 0.2
    dual: float = 0.0


def group_advantages(rewards, normalize_std: bool = True, epsilon: float = 1e-6):
    """Group-relative advantages, GRPO (arXiv 2402.03300 section 4.1.2): A_i = (R_i - mean R) / std R.

    rewards: float [N, G]; std over the group with denominator G - 1. A group whose rewards are all equal gets zeros. With
    `normalize_std` off the division is left out (Dr. GRPO, arXiv 2503.20783).
    """
    centred = rewards - rewards.mean(axis=1, keepdims=True)
    spread = jnp.sqrt((centred**2).sum(axis=1, keepdims=True) / max(1, rewards.shape[1] - 1))
    scale = spread + epsilon if normalize_std else 1.0
    return jnp.where(spread > epsilon, centred / scale, 0.0)


def trajectory_reward(first: float, last: float, gamma: float, eta: float) -> float:
    """R = R(o_T) + gamma * R(o_1) + eta * B(R(o_1), R(o_T)), MM-ReCoder (arXiv 2604.01600).

    The paper does not print B; ours is max(0, R(o_T) - R(o_1)), the rise over the first turn.
    """
    return last + gamma * first + eta * max(0.0, last - first)


def surrogate(logprob, old_logprob, advantage, clip: Clip | None):
    """The quantity that is maximised for each token; its sum with the batch's weights is the objective.

    On-policy (clip None), MM-ReCoder's objective: pi(o) / stop_gradient(pi(o)) * A. Its value is A and its gradient
    A * grad log pi(o). With A = 1 this is the gradient of SFT.
    With a clip, PPO's min(r A, clip(r, 1 - low, 1 + high) A), r = pi(o) / pi_old(o), and for A < 0 at least dual * A.
    """
    if clip is None:
        return jnp.exp(logprob - jax.lax.stop_gradient(logprob)) * advantage
    ratio = jnp.exp(logprob - old_logprob)
    value = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip.low, 1 + clip.high) * advantage)
    if clip.dual:
        value = jnp.where(advantage < 0, jnp.maximum(value, clip.dual * advantage), value)
    return value
