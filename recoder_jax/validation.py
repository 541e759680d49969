"""What a config may say: the range of every value, then what values mean together. All of it is checked before anything is compiled."""

import dataclasses
import math

import ml_collections

from recoder_jax.languages.language import find
from recoder_jax.rewards.judge_options import addresses
from recoder_jax.runs.alarms import ACTIONS, Choices

COUNTS = (  # keys whose values are at least 1
    "steps", "model.unroll", "image.min_pixels", "batch.size", "batch.micro_batches", "batch.rows", "batch.row_tokens",
    "batch.least_trained", "batch.least_images", "batch.least_windows", "batch.suffixes", "batch.logit_chunk", "rollout.turns", "rollout.branch_turn",
    "rollout.group", "rollout.response_tokens", "rollout.feedback_tokens", "rollout.charts", "rollout.lanes", "rollout.chunk", "objective.updates",
    "judge.attempts", "judge.concurrency", "judge.server_concurrency", "judge.breaker_failures", "judge.reply_tokens", "judge.max_pixels", "judge.batch",
    "sandbox.workers", "sandbox.memory_mb", "checkpoint.every", "checkpoint.keep", "log.rollouts_every", "evaluation.charts",
    "evaluation.turns", "evaluation.batch", "evaluation.attempts", "evaluation.concurrency", "visual.batch", "visual.side", "visual.tiles",
)
POSITIVE = (
    "optimizer.learning_rate", "optimizer.clip_norm", "objective.constant", "objective.clip_high", "sandbox.seconds",
    "evaluation.seconds", "judge.seconds", "judge.queue_seconds", "judge.attempt_seconds", "judge.first_pause", "judge.breaker_pause",
)
NOT_NEGATIVE = (
    "objective.truncate", "objective.kl", "objective.kl_first_turn", "objective.rare", "rollout.overlong_tokens", "rollout.overlong_penalty",
    "rollout.refills", "rollout.seats", "checkpoint.minutes", "checkpoint.keep_every", "optimizer.warmup", "optimizer.weight_decay",
    "rollout.temperature", "evaluation.temperature",
    *(f"reward.{prefix}{name}" for prefix in ("", "ramp_") for name in ("alpha", "beta", "similarity", "textual", "executed", "visual", "language", "attributes")),
    "visual.fine", "visual.coarse", "evaluation.requests_per_minute",
    "reward.ramp_steps", "reward.textual_chart_types", "reward.textual_layout", "reward.textual_texts", "reward.textual_data",
)
CHOICES = {
    "kind": ("sft", "rl"),
    "model.preset": ("tiny", "100m", "3b", "7b", "72b"),
    "model.remat": ("none", "blocks", "attention"),
    "model.attention": ("auto", "xla", "splash", "cudnn"),
    "model.dtype": ("float32", "bfloat16"),
    "model.param_dtype": ("float32", "bfloat16"),
    "data.trained_turns": ("all", "last"),
    "optimizer.schedule": ("cosine", "constant"),
    "optimizer.moment_dtype": ("float32", "bfloat16"),
    "objective.aggregation": ("sequence_mean", "token_mean", "constant"),
    "objective.baseline": ("mean", "leave_one_out"),
    "objective.ratio": ("token", "sequence"),
    "objective.kl_estimator": ("k1", "k2", "k3"),
    "objective.kl_in": ("loss", "reward"),
    "rollout.bonus": ("rise", "change"),
    "objective.on_nonfinite": ("stop", "skip"),
    "checkpoint.best_mode": ("max", "min"),
    "data.keep": ("all", "flat"),
    "evaluation.question": ("benchmark", "rating", "grade", "none"),
    "rollout.branching": ("one", "each"),
    "rollout.cache_dtype": ("model", "int8"),
    "reward.textual_order": ("kept", "free"),
    "reward.on_missing": ("renormalise", "drop_group", "zero"),
    "visual.model": ("dinov2-small", "dinov2-base", "dinov2-large", "resnet18"),
    "visual.dtype": ("float32", "bfloat16"),
    "visual.device": ("policy", "cpu"),
    "visual.mapping": ("half", "cosine", "calibrated"),
    "sandbox.isolation": ("auto", "strict", "forced"),
    "sandbox.replay": ("required", "preferred", "off"),
    **{f"alarms.{field.name}": ACTIONS for field in dataclasses.fields(Choices) if field.name != "window"},
}


def leaves(config: ml_collections.ConfigDict | None, prefix: str = "") -> dict[str, object]:
    """Values by dotted key: {"steps": 1000, "batch.size": 32, ...}; nothing for what is no config."""
    found = {}
    for key, value in config.items() if isinstance(config, ml_collections.ConfigDict) else ():
        found |= leaves(value, f"{prefix}{key}.") if isinstance(value, ml_collections.ConfigDict) else {f"{prefix}{key}": value}
    return found


def validate(config: ml_collections.ConfigDict) -> None:
    """Check every value, then what values mean together. Raises ValueError naming the value and the remedy."""
    values = leaves(config)
    for key, value in values.items():
        check(not isinstance(value, float) or math.isfinite(value), f"{key} is {value}; give a finite number")
    for key in COUNTS:
        check(values[key] >= 1, f"{key} is {values[key]}; give at least 1")
    for key in POSITIVE:
        check(values[key] > 0, f"{key} is {values[key]}; give a number above 0")
    for key in NOT_NEGATIVE:
        check(values[key] >= 0, f"{key} is {values[key]}; give a number from 0")
    for key, choices in CHOICES.items():
        check(values[key] in choices, f"{key} is {values[key]!r}; choose {', '.join(choices[:-1])} or {choices[-1]}")
    check(0 <= config.seed < 2**31, f"seed is {config.seed}; give a number from 0 to {2**31 - 1}")
    for key in ("optimizer.b1", "optimizer.b2"):
        check(0 <= values[key] < 1, f"{key} is {values[key]}; give a number from 0 to below 1")
    check(config.kind == "sft" or not config.data.mixed_with, f"data.mixed_with is {config.data.mixed_with!r}, which only sft mixes; clear it")
    for entry in filter(None, config.data.mixed_with.split(",")):
        name, _, split = entry.partition(":")
        check(name and split, f"data.mixed_with names {entry!r}; write name:split, for example chart_world:train[:1000]")
    check(config.kind == "rl" or config.data.keep == "all", f"data.keep is {config.data.keep!r}, which only rl reads; set it to all")
    check(config.alarms.window >= 4, f"alarms.window is {config.alarms.window}; give at least 4, or no mean says anything")
    wrong = sorted(set(config.log.wandb) & set("/\\#?%:"))
    check(not wrong, f"log.wandb is {config.log.wandb!r} but the name of a project has no {' or '.join(wrong)}; give its name alone")
    every, stay = config.checkpoint.every, config.checkpoint.keep_every
    check(stay % every == 0, f"checkpoint.keep_every is {stay}, not a multiple of checkpoint.every = {every}, when checkpoints are written; change one")
    check(config.model.attention != "cudnn" or config.model.dtype == "bfloat16",
          f"model.attention is 'cudnn', which computes in bfloat16, and model.dtype is {config.model.dtype!r}; set model.attention to 'auto' or model.dtype to 'bfloat16'")
    find(config.data.language)
    check(config.evaluation.max_pixels >= 28 * 28, f"evaluation.max_pixels is {config.evaluation.max_pixels}; give at least {28 * 28}, one token")
    check("://" in config.mirror or not config.mirror, f"mirror is {config.mirror!r}; give an address such as gs://bucket/runs, or '' for no copy")
    validate_profile(config)
    validate_mesh(config)
    validate_images(config)
    validate_objective(config)
    validate_reward(config)
    if config.kind == "rl":
        validate_rollout(config)
        validate_language(config)


def validate_profile(config: ml_collections.ConfigDict) -> None:
    steps = config.profile
    sound = len(steps) in (0, 2) and all(type(step) is int and step >= 1 for step in steps) and steps == tuple(sorted(steps))
    check(sound, f"profile is {steps}; give (first step, last step), whole numbers from 1 such as (10,13), or () for no trace")
    check(not steps or steps[0] <= config.steps, f"profile is {steps} but the run ends at step {config.steps}; lower it or raise steps")


def validate_mesh(config: ml_collections.ConfigDict) -> None:
    mesh = config.mesh
    for axis, size in mesh.items():
        check(size >= 1 or size == -1, f"mesh.{axis} is {size}; give at least 1, or -1 for the devices that are left")
    check(list(mesh.values()).count(-1) <= 1, f"several axes of mesh are -1 ({', '.join(k for k, v in mesh.items() if v == -1)}); make one of them -1 at most")
    share = abs(mesh.data * mesh.fsdp)  # where an axis is -1, `train` checks the rows again when the devices are known
    check(config.batch.rows % share == 0, f"batch.rows is {config.batch.rows}, not a multiple of mesh.data * mesh.fsdp = {share}; change one")
    check(config.batch.row_tokens % abs(mesh.sequence) == 0,
          f"batch.row_tokens is {config.batch.row_tokens}, not a multiple of mesh.sequence = {mesh.sequence}; change one")


def validate_images(config: ml_collections.ConfigDict) -> None:
    image, limit = config.image, config.rollout.feedback_tokens
    check(image.max_pixels >= 28 * 28, f"image.max_pixels is {image.max_pixels}; give at least {28 * 28}, one token")
    check(image.min_pixels <= image.max_pixels, f"image.min_pixels {image.min_pixels} is above image.max_pixels {image.max_pixels}; swap them")
    tokens = image.max_pixels // 28**2
    check(not config.rollout.difference or 2 * tokens < limit,
          f"rollout.feedback_tokens is {limit} but a render of image.max_pixels and its difference take {2 * tokens}; raise it, lower image.max_pixels "
          "or set rollout.difference to False")
    check(tokens < limit, f"rollout.feedback_tokens is {limit} but a render of image.max_pixels takes {tokens}; raise it or lower image.max_pixels")


def validate_objective(config: ml_collections.ConfigDict) -> None:
    objective = config.objective
    check(objective.clip_low > 0 and objective.clip_low < 1, f"objective.clip_low is {objective.clip_low}; give a number between 0 and 1")
    check(objective.clip_dual == 0 or objective.clip_dual > 1, f"objective.clip_dual is {objective.clip_dual}; give 0 (off) or a number above 1")
    check(objective.ratio == "token" or objective.updates > 1,
          "objective.ratio is 'sequence' but objective.updates is 1, where every ratio is 1; raise updates or choose token")
    check(objective.truncate == 0 or config.kind == "rl" and objective.updates == 1,
          f"objective.truncate is {objective.truncate}, which weighs the one update of an RL batch; set it to 0, or kind to rl and objective.updates to 1")
    check(objective.rare == 0 or config.kind == "sft",
          f"objective.rare is {objective.rare}, which weighs the tokens of given responses; set it to 0, or kind to sft")
    check(objective.rare_most >= 1, f"objective.rare_most is {objective.rare_most}; give a number from 1")
    check(config.kind == "rl" or objective.kl == objective.kl_first_turn == 0,
          f"objective.kl is {objective.kl} and kl_first_turn {objective.kl_first_turn}; only RL has a reference, so set both to 0")
    check(objective.kl_first_turn == 0 or config.rollout.branch_turn == 1,
          f"objective.kl_first_turn is {objective.kl_first_turn}, but turn 1 is not trained; set rollout.branch_turn to 1 or the weight to 0")
    check(objective.kl_estimator != "k1" or objective.kl_in == "reward",
          "objective.kl_estimator is k1, whose gradient in the loss is 0 on average; set objective.kl_in to reward, or choose k2 or k3")
    check(config.kind == "rl" or objective.updates == 1,
          f"objective.updates is {objective.updates}; only RL uses a batch more than once, so set it to 1 or raise steps")


def validate_reward(config: ml_collections.ConfigDict) -> None:
    reward, address = config.reward, config.judge.base_url
    names = ("alpha", "beta", "similarity", "textual", "executed", "visual", "language", "attributes")
    for prefix in ("", "ramp_"):
        given, beta = sum(reward[prefix + name] for name in names), reward[f"{prefix}beta"]
        words = " + ".join(f"reward.{prefix}{name}" for name in names)
        check(given <= 1 + 1e-9, f"{words} is {given}; give values whose sum is at most 1")
        check(beta < 1 or reward.on_missing != "renormalise", f"reward.{prefix}beta is 1, so a judge that does not answer leaves no weight to "
              "renormalise; lower it or choose another reward.on_missing")
        check(beta == 0 or address != "" or config.judge.policy != "",
              f"reward.{prefix}beta is {beta} but judge.base_url is empty; give the judge's address, or a policy in judge.policy, or set it to 0")
    check(not (address and config.judge.policy), "judge.base_url and judge.policy are both set; clear one, for there is one judge")
    started = [name for name in names if reward[f"ramp_{name}"]]
    check(reward.ramp_steps > 0 or not started, f"reward.ramp_{''.join(started[:1])} is set but reward.ramp_steps is 0; set the number of updates or clear it")
    inner = ("textual_chart_types", "textual_layout", "textual_texts", "textual_data")
    check(sum(reward[name] for name in inner) > 0, f"reward.{', reward.'.join(inner)} are all 0; raise one")
    check(0 <= reward.textual_tolerance < 1, f"reward.textual_tolerance is {reward.textual_tolerance}; give a number from 0 to below 1")
    if address:
        addresses(address)
    validate_visual(config)


def validate_visual(config: ml_collections.ConfigDict) -> None:
    visual, reward = config.visual, config.reward
    weight = max(reward.visual, reward.ramp_visual)
    check(weight == 0 or visual.weights != "", f"reward.visual or ramp_visual is {weight} but visual.weights is empty; give the directory of pretrained "
          f"weights of {visual.model}, or set it to 0 and use reward.similarity, which needs none")
    check(visual.model == "resnet18" or visual.side % 14 == 0, f"visual.side is {visual.side}; give a multiple of 14, the patch of DINOv2")
    check(visual.fine + visual.coarse > 0, "visual.fine and visual.coarse are both 0; raise one")


def validate_language(config: ml_collections.ConfigDict) -> None:
    """What rewards and evaluations of a language without elements cannot read."""
    language, names = find(config.data.language), [f"{prefix}{name}" for prefix in ("", "ramp_") for name in ("alpha", "textual", "attributes")]
    weighed = [name for name in names if config.reward[name]]
    check(language.elements or not weighed,
          f"reward.{''.join(weighed[:1])} is set but programs in {language.name} have no elements that it could compare; set it to 0 and raise "
          "reward.similarity")
    check(language.elements or config.data.keep == "all", f"data.keep is {config.data.keep!r}, which reads python programs; set it to all")


def validate_rollout(config: ml_collections.ConfigDict) -> None:
    rollout = config.rollout
    check(rollout.group >= 2, f"rollout.group is {rollout.group}; a group needs at least 2 trajectories to compare")
    check(rollout.seats == 0 or rollout.group <= rollout.seats,
          f"rollout.seats is {rollout.seats}, fewer than the {rollout.group} trajectories of a group (rollout.group); raise it, or set it to 0 for all")
    check(rollout.branch_turn <= rollout.turns, f"rollout.branch_turn is {rollout.branch_turn}; it must lie in 1..{rollout.turns}")
    check(rollout.branching == "one" or rollout.branch_turn < rollout.turns,
          f"rollout.branching is 'each' but rollout.branch_turn is the last of {rollout.turns} turns, the only one to branch at; lower it, raise "
          "rollout.turns or choose one")
    check(rollout.refills == 0 or config.objective.kl_in == "loss" or config.objective.kl == config.objective.kl_first_turn == 0,
          f"rollout.refills is {rollout.refills}, but KL in the reward makes no two rewards equal; set objective.kl_in to loss or refills to 0")
    check(rollout.overlong_tokens <= rollout.response_tokens,
          f"rollout.overlong_tokens is {rollout.overlong_tokens}, above rollout.response_tokens = {rollout.response_tokens}; lower it")
    check(rollout.temperature == 1,
          f"rollout.temperature is {rollout.temperature}; set it to 1: log probabilities are those of temperature 1, "
          "so another temperature would make the update off-policy")


def check(holds: bool, sentence: str) -> None:
    if not holds:
        raise ValueError(sentence)
