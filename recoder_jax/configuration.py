"""The configuration of a run: every key with its default and meaning, the loader behind `--config`, and its fingerprint.

An experiment file sets what makes it an experiment; what it does not mention stands here. Unknown keys, wrong types and
contradictions fail before anything is compiled (validation.py).
"""

import hashlib
import json
import os
import runpy
from collections.abc import Sequence

import ml_collections
from absl import flags
from ml_collections import config_flags

from recoder_jax.validation import check, leaves, validate


def defaults() -> ml_collections.ConfigDict:
    """All keys of a run. Sizes fit the tiny policy; paper-sized files set theirs."""
    config = ml_collections.ConfigDict()
    add_policy(config)
    add_learning(config)
    add_rollout(config)
    add_reward(config)
    add_run(config)
    return config.lock()


def add_policy(config: ml_collections.ConfigDict) -> None:
    """What is trained, from what, on which devices."""
    config.name = ""  # row label in tables and reports
    config.kind = "sft"  # sft: learn from given responses; rl: learn from the policy's own, rewarded
    config.seed = 0  # decides initial weights, data order and sampling
    config.init = ""  # run directory, RUN@STEP, RUN@best, policy directory or tiny, which comes with the package, to start from; '' starts from random weights
    config.steps = 1000  # updates
    config.mirror = ""  # gs://bucket/folder, s3://bucket/folder: RUN is copied to RUN's name in it, and fetched from there where RUN is empty; '' is off
    config.profile = ()  # (first step, last step), from 1: the first process writes a trace of them into RUN/profile; () writes none

    config.model = ml_collections.ConfigDict()
    config.model.preset = "tiny"  # tiny, 100m, 3b, 7b or 72b
    config.model.dtype = "float32"  # of activations
    config.model.param_dtype = "float32"  # of parameters and optimizer moments
    config.model.remat = "none"  # what the backward pass computes again: none; blocks, all but their inputs; attention, all but inputs and splash's output
    config.model.attention = "auto"  # xla, splash on TPUs, cudnn on NVIDIA GPUs in bfloat16; auto: by platform and dtype
    config.model.unroll = 1  # blocks an iteration of the layer loop runs when training; more compile longer and run faster on CPUs
    config.tokenizer = "tiny"  # 'tiny', 'tiny_svg' or a directory with a Qwen2.5-VL tokenizer.json

    config.image = ml_collections.ConfigDict()
    config.image.min_pixels = 28 * 28  # images are scaled into these bounds
    config.image.max_pixels = 224 * 224

    config.mesh = ml_collections.ConfigDict()  # devices by axis; their product must be the number of devices, one axis may be -1 and takes those left
    config.mesh.data = 1  # copies of the policy, each with its share of the batch
    config.mesh.fsdp = 1  # shares of parameters and batch
    config.mesh.tensor = 1  # shares of heads and of the hidden units
    config.mesh.sequence = 1  # shares of parameters and of the tokens of a row, for rows too long for one device


def add_learning(config: ml_collections.ConfigDict) -> None:
    """Data, batch and optimizer, for SFT and RL."""
    config.data = ml_collections.ConfigDict()
    config.data.dir = "data"  # where `python -m recoder_jax.prepare` put the data sets
    config.data.name = "chart_world"
    config.data.language = "python"  # of the programs of data.name and evaluation.data (recoder_jax/languages); sets of mixed_with bring their own
    config.data.split = "train"
    config.data.keep = "all"  # RL: all charts, or flat, those whose program holds its data in one-dimensional arrays and flat dictionaries
    config.data.mixed_with = ""  # SFT: further data sets, 'name:split,name:split', mixed in by their sizes
    config.data.trained_turns = "all"  # turns of an SFT dialogue that carry loss: all or last

    config.batch = ml_collections.ConfigDict()
    config.batch.size = 32  # SFT: dialogues an update; RL: charts an update
    config.batch.micro_batches = 1  # parts an update's gradient is summed over; more are added when the trees do not fit
    config.batch.rows = 32  # packed rows of a micro-batch
    config.batch.row_tokens = 256  # tokens of a row
    config.batch.least_trained = 64  # trained tokens of a row and images of a micro-batch are padded to these times a power of two,
    config.batch.least_images = 8  # so that few shapes are compiled
    config.batch.least_windows = 4  # whole windows of 8 x 8 patches that hold the largest image are padded to this, then to quarters of its doublings
    config.batch.suffixes = 8  # most suffixes that share a copy of their prefix in a row; a larger group takes several copies
    config.batch.logit_chunk = 1024  # trained tokens of a row whose logits are held at once

    config.optimizer = ml_collections.ConfigDict()
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule = "cosine"  # cosine to 5 % of the rate, or constant
    config.optimizer.warmup = 20  # updates from 0 to the rate
    config.optimizer.weight_decay = 0.01  # of matrices
    config.optimizer.train_vision = True  # false holds the vision tower as it is, and saves its backward pass
    config.optimizer.clip_norm = 1.0  # of the global gradient
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.95
    config.optimizer.moment_dtype = "float32"  # of the first moments; bfloat16 saves two bytes a parameter. Second moments have that of parameters


def add_rollout(config: ml_collections.ConfigDict) -> None:
    """Dialogues and objective. The caps of responses and feedback hold in evaluation too; SFT reads `aggregation`, `rare` and `rollout.difference`."""
    config.rollout = ml_collections.ConfigDict()
    config.rollout.turns = 2  # T
    config.rollout.branch_turn = 2  # turns before it are sampled once a chart and shared; it and later ones are trained
    config.rollout.branching = "one"  # one: every chart branches at branch_turn; each: charts branch at branch_turn..turns in rotation
    config.rollout.group = 8  # G, trajectories a chart
    config.rollout.response_tokens = 72  # cap of a response
    config.rollout.feedback_tokens = 96  # cap of a feedback, images included
    config.rollout.temperature = 1.0  # of sampling; RL takes 1 only
    config.rollout.charts = 16  # charts played side by side; others wait for a place
    config.rollout.seats = 0  # trajectories that speak or wait for feedback side by side, whose suffixes the cache has room for; 0: all of rollout.charts
    config.rollout.lanes = 8  # prompts or feedbacks read in one call; all three are rounded up to a multiple of the mesh's data * fsdp
    config.rollout.chunk = 16  # tokens decoded between two looks at who has ended and who can go on
    config.rollout.cache_dtype = "model"  # of keys and values while dialogues are played: model, that of activations, or int8, a byte and a scale a head
    config.rollout.refills = 0  # DAPO: groups whose rewards are all equal are left out and charts that follow played for them, at most so many times
    config.rollout.offload = False  # the optimizer's moments lie in the host's memory while dialogues are sampled
    config.rollout.stop_at_fence = False  # cut a response where its block is closed, in evaluation too
    config.rollout.difference = False  # feedback shows, beside the render, where it differs from the target; in SFT and evaluation too
    config.rollout.gamma = 0.0  # weight of the first turn's reward in the trajectory reward
    config.rollout.eta = 0.0  # weight of the bonus
    config.rollout.bonus = "rise"  # of the last turn over the first: rise, never negative, or change, with its sign (SCoRe)
    config.rollout.overlong_tokens = 0  # a trained response that comes nearer than this to its cap is punished (DAPO); 0 punishes none
    config.rollout.overlong_penalty = 1.0  # what a response at its cap loses; the mean over a trajectory's trained turns is taken from its reward

    config.objective = ml_collections.ConfigDict()
    config.objective.aggregation = "sequence_mean"  # weight of a token: sequence_mean, token_mean or constant
    config.objective.constant = 1.0  # divisor of aggregation 'constant'; 1 sums over tokens
    config.objective.rare = 0.0  # SFT: a token weighs with the share of responses that hold it behind its two predecessors, to the power -rare; 0 is off
    config.objective.rare_most = 8.0  # most weight of a token over that of one which stands in every response
    config.objective.normalize_std = True  # divide advantages by the group's standard deviation
    config.objective.baseline = "mean"  # what a reward is compared with: mean of its group, or leave_one_out, the mean of the others
    config.objective.updates = 1  # updates on each rollout batch; above 1 the ratio is clipped
    config.objective.clip_low = 0.2  # ratio bounds 1 - low and 1 + high, read when updates > 1
    config.objective.clip_high = 0.2
    config.objective.clip_dual = 0.0  # bound of the ratio for negative advantages; 0 is off
    config.objective.ratio = "token"  # what is clipped, read when updates > 1: each token's ratio, or sequence, one of the whole response (GSPO)
    config.objective.on_nonfinite = "stop"  # a loss, gradient or reward that is not finite: stop before the update, or skip it; the batch is kept
    config.objective.truncate = 0.0  # most weight of a token that training finds likelier than sampling did; 0 weighs nothing, updates = 1 only
    config.objective.kl = 0.0  # weight of KL to the policy the run started from, on every trained token; RL, as are the next three
    config.objective.kl_first_turn = 0.0  # added to it on tokens of turn 1 (SCoRe)
    config.objective.kl_estimator = "k3"  # k1, k2 or k3 (learning/objective.py)
    config.objective.kl_in = "loss"  # loss: a term at each token; reward: its sum is taken from a trajectory's reward


def add_reward(config: ml_collections.ConfigDict) -> None:
    """Weights of the reward parts (rewards/parts.py), and the judge."""
    config.reward = ml_collections.ConfigDict()
    config.reward.alpha = 0.9  # weight of the rule part; format has what the other parts leave
    config.reward.beta = 0.0  # weight of the judge's part; 0 asks no judge
    config.reward.similarity = 0.0  # weight of the image similarity of render and target, which asks nobody
    config.reward.textual = 0.0  # weight of MSRL's textual reward: chart types, layout, texts and data values as they were drawn
    config.reward.executed = 0.0  # weight of having left a figure
    config.reward.visual = 0.0  # weight of what a pretrained model sees of the render, beside the target (VinciCoder, ChartMaster)
    config.reward.language = 0.0  # weight of a closed block in the language asked for (VinciCoder)
    config.reward.attributes = 0.0  # weight of the Jaccard index of layout, colours, texts and values (ChartMaster)
    config.reward.textual_chart_types = 1.0  # weights within the textual reward, of any scale; ours: the paper prints none
    config.reward.textual_layout = 1.0
    config.reward.textual_texts = 1.0
    config.reward.textual_data = 1.0
    config.reward.textual_tolerance = 0.05  # paper: greatest relative error of a data value
    config.reward.textual_order = "kept"  # ours: data values match in their order (kept) or in any (free)
    config.reward.ramp_steps = 0  # updates over which the weights above are reached from those below, linearly; 0 holds them from the start
    config.reward.ramp_alpha = 0.0  # weights at the first update of a ramp
    config.reward.ramp_beta = 0.0
    config.reward.ramp_similarity = 0.0
    config.reward.ramp_textual = 0.0
    config.reward.ramp_executed = 0.0
    config.reward.ramp_visual = 0.0
    config.reward.ramp_language = 0.0
    config.reward.ramp_attributes = 0.0
    config.reward.on_missing = "renormalise"  # the judge did not answer: renormalise the other weights, drop_group from the update, or count zero

    config.visual = ml_collections.ConfigDict()  # what looks at renders where reward.visual has weight (rewards/visual.py)
    config.visual.weights = ""  # directory of its pretrained weights: Hugging Face's DINOv2, or ResNet-18 in safetensors under torchvision's names
    config.visual.model = "dinov2-large"  # dinov2-small, dinov2-base, dinov2-large or resnet18
    config.visual.dtype = "float32"  # of its weights and activations
    config.visual.device = "policy"  # policy: a copy on each device of the policy; cpu: the host's processor
    config.visual.batch = 16  # views of a call; policies decode between calls
    config.visual.side = 448  # pixels of a view's side, a multiple of 14 for DINOv2
    config.visual.tiles = 12  # most tiles of an image; 1 looks at the whole image once
    config.visual.fine = 1.0  # weight of each tile
    config.visual.coarse = 1.0  # weight of the thumbnail that follows several tiles
    config.visual.mapping = "half"  # of a cosine c: half, (1 + c) / 2; cosine, max(0, c); calibrated, a blank page is 0 and the target 1

    config.judge = ml_collections.ConfigDict()
    config.judge.base_url = ""  # OpenAI-compatible server, http://host:port/v1; several, separated by commas, share the questions
    config.judge.policy = ""  # without a server: policy or run directory of a judge in this process
    config.judge.batch = 8  # questions that such a judge decodes side by side
    config.judge.model = "Qwen/Qwen2.5-VL-72B-Instruct"  # name at the server
    config.judge.key_variable = "OPENAI_API_KEY"  # environment variable that holds the key, where the server asks for one
    config.judge.seconds = 120.0  # deadline of a judgement, from the moment its question is first put to a server
    config.judge.queue_seconds = 600.0  # longest a question waits for its turn before that
    config.judge.attempt_seconds = 60.0  # deadline of one attempt, so that another server can still be asked
    config.judge.attempts = 4  # times one question is asked at most; being told to wait (429) does not count
    config.judge.first_pause = 0.5  # seconds before the second attempt; doubles each time
    config.judge.concurrency = 64  # questions in flight
    config.judge.server_concurrency = 64  # questions in flight at one server
    config.judge.breaker_failures = 5  # failures in a row after which a server is asked nothing
    config.judge.breaker_pause = 10.0  # for so many seconds, and then one question
    config.judge.structured = True  # ask for replies that follow a schema; a server that refuses is asked without
    config.judge.reply_tokens = 512  # cap of a reply
    config.judge.max_pixels = 1280 * 28 * 28  # larger images are scaled down before they are sent
    config.judge.cache = ""  # directory of judgements, so that no question is asked twice by any run; '' keeps none


def add_run(config: ml_collections.ConfigDict) -> None:
    """Sandbox, checkpoints, logs, alarms, evaluation."""
    config.sandbox = ml_collections.ConfigDict()
    config.sandbox.workers = 2  # programs executed at once
    config.sandbox.seconds = 10.0  # deadline of a program
    config.sandbox.memory_mb = 2048
    config.sandbox.isolation = "auto"  # auto: every layer the host allows; strict: refuse a host where one is missing; forced: run without any
    config.sandbox.replay = "required"  # renders and elements from the replayed draw list; preferred: else what the program claims; off: its claims

    config.checkpoint = ml_collections.ConfigDict()
    config.checkpoint.every = 50  # updates between checkpoints; the last update always leaves one
    config.checkpoint.minutes = 0.0  # minutes after which one is written at the next update, beside `every`; 0 is off
    config.checkpoint.keep = 2  # newest checkpoints that stay
    config.checkpoint.keep_every = 0  # checkpoints of every so many updates stay for ever, a multiple of `every`; 0 is off
    config.checkpoint.best = ""  # the checkpoint stays that is best by the mean of this metric of metrics.jsonl since the one before; '' is off
    config.checkpoint.best_mode = "max"  # what is best: max or min

    config.log = ml_collections.ConfigDict()
    config.log.rollouts_every = 5  # steps between saved dialogues
    config.log.tensorboard = False  # metrics also to RUN/tensorboard
    config.log.wandb = ""  # project of Weights & Biases that metrics also go to; '' is off. WANDB_MODE=offline keeps them here

    config.alarms = ml_collections.ConfigDict()  # RL: each alarm is off, or says its sentence when it begins, or stops the run (runs/alarms.py)
    config.alarms.window = 20  # steps whose mean is looked at
    config.alarms.repeat = "say"  # the last turn repeats the first more and more
    config.alarms.sandbagging = "say"  # the reward of turn 1 falls and that of the last turn does not follow
    config.alarms.format = "say"  # the format reward falls
    config.alarms.judge = "say"  # the judge gives one value
    config.alarms.gap = "say"  # log probabilities of sampler and trainer come apart
    config.alarms.entropy = "say"  # the entropy falls to a quarter
    config.alarms.equal_groups = "say"  # nearly all groups have equal rewards
    config.alarms.tampering = "say"  # programs show signs of tampering with the sandbox; at every step that has some

    config.evaluation = ml_collections.ConfigDict()
    config.evaluation.data = "chart_world"  # data set
    config.evaluation.split = "test"
    config.evaluation.charts = 200  # the first charts of the split
    config.evaluation.turns = 2
    config.evaluation.question = "benchmark"  # asked of the judge beside the six items: benchmark (a rating of plot2code, a grade of chartx), rating, grade, none
    config.evaluation.temperature = 0.0
    config.evaluation.batch = 50  # charts played side by side
    config.evaluation.max_pixels = 1280 * 28 * 28  # largest image that a policy sees which is no run of ours; larger ones are scaled down
    config.evaluation.key_variable = "OPENAI_API_KEY"  # environment variable that holds the key of the evaluated server, where it asks for one
    config.evaluation.seconds = 300.0  # deadline of a response of a server, its attempts included
    config.evaluation.attempts = 4  # times one response is asked for at most; being told to wait (429) does not count
    config.evaluation.concurrency = 16  # responses asked for side by side
    config.evaluation.requests_per_minute = 0.0  # most requests to a server that begin in a minute; 0 sets no pace


def load(file: str, overrides: Sequence[str] = ()) -> ml_collections.ConfigDict:
    """The config of `file`, or of `file:argument`, with overrides `--config.a.b=value`, checked.

    Raises ValueError with one sentence for a missing or broken file, an unknown key, a wrong type or a contradiction.
    """
    stray = [argument for argument in overrides if not argument.startswith("--config.")]
    if stray:
        raise ValueError(f"unknown argument {stray[0]!r}; overrides are written --config.a.b=value")
    config, values, words = read_file(file), flags.FlagValues(), ["config", *overrides]
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=words)
        values(words)
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"an override of the config {file!r} is wrong: {one_line(error)}; the keys are in recoder_jax/configuration.py") from error
    validate(config)
    return config


def read_file(file: str) -> ml_collections.ConfigDict:
    """What `get_config` of an experiment file returns, called with what stands behind a colon. Raises ValueError with one sentence that
    names the file."""
    path, _, argument = file.partition(":")
    if not os.path.isfile(path):
        raise ValueError(f"there is no config file {path!r}; give a file under configs/")
    try:
        module = runpy.run_path(path)
        function = module.get("get_config")
        if argument and function and not function.__code__.co_argcount:
            raise ValueError(f"its get_config takes no argument, so {argument!r} means nothing to it")
        config = function and function(*[argument] if argument else [])
    except Exception as error:  # the file is code of the user's, which may raise anything
        raise ValueError(f"the config file {file!r} cannot be read: {type(error).__name__}, {one_line(error)}; correct it") from error
    strange = sorted(leaves(defaults()).keys() ^ leaves(config).keys())
    check(not strange, f"the config file {file!r} does not give the keys of recoder_jax/configuration.py ({', '.join(strange[:3])}); "
          "let its function get_config begin with config = defaults() and return it")
    return config


def one_line(error: BaseException) -> str:
    """The message of an error on one line."""
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    return " ".join(str(text).split()).rstrip(".;")


def fingerprint(config: ml_collections.ConfigDict) -> str:
    """Twelve hexadecimal digits that change when any value of the config changes."""
    return hashlib.sha256(json.dumps(config.to_dict(), sort_keys=True).encode()).hexdigest()[:12]
