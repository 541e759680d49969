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


def group_advantages(rewards, normalize_std: bool = True, baseline: str = "mean", epsilon: float = 1e-6):
    """Group-relative advantages, GRPO (arXiv 2402.03300 section 4.1.2): A_i = (R_i - mean R) / std R.

    rewards: float [N, G]; std over the group with denominator G - 1. A group whose rewards are all equal gets zeros. With
    `normalize_std` off the division is left out (Dr. GRPO, arXiv 2503.20783).
    baseline: `mean` of the group, or `leave_one_out`, the mean of the other G - 1 (RLOO, arXiv 2402.14740 eq. 6), which is
    G / (G - 1) times as far from the reward.
    """
    group = rewards.shape[1]
    centred = rewards - rewards.mean(axis=1, keepdims=True)
    spread = jnp.sqrt((centred**2).sum(axis=1, keepdims=True) / max(1, group - 1))
    scale = spread + epsilon if normalize_std else 1.0
    if baseline == "leave_one_out":
        centred = centred * (group / max(1, group - 1))
    elif baseline != "mean":
        raise ValueError(f"baseline is {baseline!r}; choose mean or leave_one_out")
    return jnp.where(spread > epsilon, centred / scale, 0.0)


def trajectory_reward(first: float, last: float, gamma: float, eta: float, bonus: str = "rise") -> float:
    """R = R(o_T) + gamma * R(o_1) + eta * B(R(o_1), R(o_T)), MM-ReCoder (arXiv 2604.01600).

    The paper does not print B; ours is `rise`, max(0, R(o_T) - R(o_1)). `change` is R(o_T) - R(o_1), the shaped bonus of SCoRe
    (arXiv 2409.12917, section 5.2), which with gamma = 1 makes R the return of its stage II.
    """
    if bonus not in ("rise", "change"):
        raise ValueError(f"bonus is {bonus!r}; choose rise or change")
    change = last - first
    return last + gamma * first + eta * (max(0.0, change) if bonus == "rise" else change)


def overlong(tokens: int, cap: int, buffer: int) -> float:
    """Soft punishment of a response that comes near its cap, DAPO (arXiv 2503.14476 eq. 13), in [-1, 0].

    0 up to cap - buffer tokens, then falling linearly to -1 at the cap.
    """
    return -min(1.0, max(0, tokens - (cap - buffer)) / buffer)


def kl_estimate(logprob, reference, estimator: str):
    """An estimate of KL(pi || reference) at each token, from tokens drawn from pi (Schulman 2020, "Approximating KL divergence").

    With d = log pi(o) - log reference(o): k1 = d, unbiased; k2 = d^2 / 2, of small variance; k3 = exp(-d) - 1 + d, unbiased and
    never negative. As a term of the loss k2 has on average the gradient of KL(pi || reference), k3 that of KL(reference || pi), and k1
    none, for the gradient of log pi(o) is 0 on average: k1 belongs into the reward (Tang and Munos, arXiv 2506.09477).
    """
    d = logprob - reference
    if estimator == "k1":
        return d
    if estimator == "k2":
        return 0.5 * d**2
    if estimator == "k3":
        return jnp.expm1(-d) + d
    raise ValueError(f"the estimator of KL is {estimator!r}; choose k1, k2 or k3")


def on_policy(logprob):
    """log of pi(o) / stop_gradient(pi(o)): 0, with the gradient of log pi(o)."""
    return logprob - jax.lax.stop_gradient(logprob)


def sequence_log_ratio(logprob, old_logprob, strand, trained, strands: int):
    """GSPO's ratio of a response, arXiv 2507.18071 eq. 7, spread over its tokens as in eq. 14.

    log s_i = mean over the tokens of strand i of log pi(o_t) - log pi_old(o_t). Each token gets stop_gradient(log s_i) with the
    gradient of its own log pi(o_t), so that sequence_mean weights give the gradient of s_i.
    logprob, old_logprob: float [R, T]; strand: int32 [R, T] in 0..strands - 1, the response of a token; trained: bool [R, T].
    """
    difference = jnp.where(trained, jax.lax.stop_gradient(logprob) - old_logprob, 0.0)
    row = jnp.arange(strand.shape[0])[:, None]
    total = jnp.zeros((strand.shape[0], strands)).at[row, strand].add(difference)  # [R, strands]
    count = jnp.zeros((strand.shape[0], strands)).at[row, strand].add(trained)
    return (total / jnp.maximum(count, 1))[row, strand] + on_policy(logprob)


def truncated_weight(logprob, sampler_logprob, most: float):
    """min(pi(o) / pi_sampler(o), most) without gradient: the importance weight of a token that the sampler drew with other
    numerics than the trainer's, truncated (Ionides 2008; the gap of RL systems, Yao et al. 2025). Unbiased while it is not cut."""
    return jnp.minimum(jnp.exp(jax.lax.stop_gradient(logprob) - sampler_logprob), most)


def surrogate(log_ratio, advantage, clip: Clip | None):
    """The quantity that is maximised for each token; its sum with the batch's weights is the objective.

    log_ratio: log pi(o) / pi_old(o); on-policy (clip None) that of `on_policy`, MM-ReCoder's objective
    pi(o) / stop_gradient(pi(o)) * A. Its value is A and its gradient A * grad log pi(o). With A = 1 this is the gradient of SFT.
    With a clip, PPO's min(r A, clip(r, 1 - low, 1 + high) A), and for A < 0 at least dual * A.
    """
    ratio = jnp.exp(log_ratio)
    if clip is None:
        return ratio * advantage
    value = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip.low, 1 + clip.high) * advantage)
    if clip.dual:
        value = jnp.where(advantage < 0, jnp.maximum(value, clip.dual * advantage), value)
    return value
