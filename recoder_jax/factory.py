"""From a config to the parts of a run: encoder, policy, sampler, sandbox, reward, player. Doors call this; nothing below does."""

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import ml_collections
from flax import nnx

from recoder_jax.charts.goldens import Goldens
from recoder_jax.charts.sandbox import Limits, Sandbox
from recoder_jax.dialogue.encoder import Encoder, load_tokenizer
from recoder_jax.dialogue.images import ImageProcessor
from recoder_jax.dialogue.turns import prompts_of
from recoder_jax.languages.language import find
from recoder_jax.learning.checkpoint import restore_params, run_of, step_of
from recoder_jax.models import observers
from recoder_jax.models.huggingface import import_policy, read_config
from recoder_jax.models.observers import Observer
from recoder_jax.models.qwen2_5_vl.config import Config, preset
from recoder_jax.models.qwen2_5_vl.model import abstract_model, create
from recoder_jax.models.store import load_config, load_params, load_policy
from recoder_jax.rewards.judge_options import JudgeOptions
from recoder_jax.rewards.mixture import Mixture, Ramp
from recoder_jax.rewards.textual import TextualOptions
from recoder_jax.rewards.visual import Visual, VisualOptions
from recoder_jax.rollout.play import Plan, Player, Slots
from recoder_jax.rollout.policy_judge import PolicyJudge, PolicyJudgeOptions
from recoder_jax.sampling.functions import Sampler
from recoder_jax.sampling.layout import Buckets
from recoder_jax.sharding import make_mesh, own_mesh, shardings

if TYPE_CHECKING:
    from recoder_jax.rewards.judge import Judge  # imports openai, a fourth of the time that imports take

SHIPPED = Path(__file__).parent / "policies"  # policies that come with the package, by name
SETTINGS = "recoder_jax.json"  # beside exported weights: what of the config of its run a policy needs to be used
OWN_SIZES = ("tiny", "100m")  # presets of ours, which have an output for each id of their tokenizer


@dataclasses.dataclass(frozen=True)
class Policy:
    """What a policy is but for its parameters: structure, sizes, and the encoder that speaks its tokens."""

    graphdef: nnx.GraphDef
    config: Config
    encoder: Encoder

    def abstract(self, mesh: jax.sharding.Mesh) -> nnx.State:
        """The parameters as shapes placed on a mesh."""
        return place_abstract(nnx.state(abstract_model(self.config)), mesh)


def place_abstract(tree, mesh: jax.sharding.Mesh):
    """Abstract arrays of any tree of states with their shardings on a mesh."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree, shardings(tree, mesh)
    )


def mesh_of(config: ml_collections.ConfigDict, devices: Sequence[jax.Device] | None = None) -> jax.sharding.Mesh:
    """The config's mesh over `devices`, by default all there are."""
    return make_mesh(**config.mesh, devices=devices)


def one_device() -> jax.sharding.Mesh:
    """The mesh of doors that work on one file."""
    return one_row(1)


def one_row(tensor: int) -> jax.sharding.Mesh:
    """The mesh of doors that work on single dialogues: the first `tensor` devices of this process, over which weights and caches are split."""
    devices = jax.local_devices()
    if not 1 <= tensor <= len(devices):
        raise ValueError(f"--tensor is {tensor}, and this process has {len(devices)} devices; give a number from 1 to that")
    return make_mesh(data=1, fsdp=1, tensor=tensor, devices=devices[:tensor])


def encoder_of(config: ml_collections.ConfigDict) -> Encoder:
    processor = ImageProcessor(min_pixels=config.image.min_pixels, max_pixels=config.image.max_pixels)
    return Encoder(load_tokenizer(config.tokenizer), processor)


def policy_of(config: ml_collections.ConfigDict) -> Policy:
    """The policy that a config describes."""
    encoder, model = encoder_of(config), config.model
    sizes = dataclasses.replace(
        preset(model.preset, vocab=encoder.vocab_size if model.preset in OWN_SIZES else None, image_id=encoder.image_id),
        end_id=encoder.end_id, pad_id=encoder.pad_id, vision_start_id=encoder.vision_start_id, vision_end_id=encoder.vision_end_id,
        dtype=model.dtype, param_dtype=model.param_dtype, remat=model.remat, attention=model.attention, unroll=model.unroll,
    )
    return Policy(nnx.graphdef(abstract_model(sizes)), sizes, encoder)


def initial_params(config: ml_collections.ConfigDict, policy: Policy, mesh: jax.sharding.Mesh) -> nnx.State:
    """The parameters a run starts from: random, or those of `config.init`, a run directory (or RUN@STEP, RUN@best), a policy directory, a
    Hugging Face directory or the name of a shipped policy.

    Raises ValueError when `config.init` holds a policy of other sizes.
    """
    if not config.init:
        return nnx.state(create(policy.config, seed=config.seed, mesh=mesh))
    init = shipped(config.init)
    foreign = is_hugging_face_directory(init)
    if not foreign and not is_policy_directory(init):
        return restore_params(init, policy.abstract(mesh))
    found = read_config(Path(init)) if foreign else load_config(init)
    if (found.text, found.vision) != (policy.config.text, policy.config.vision):
        raise ValueError(f"init {config.init!r} holds a policy of other sizes than model.preset {config.model.preset!r}; change one")
    if foreign:
        return import_policy(init, mesh, policy.config.param_dtype)[1]
    return load_params(Path(init, "params"), policy.config, mesh)


def shipped(path: str | Path) -> str | Path:
    """The directory of a policy that comes with the package, where `path` is its name and no directory of the user's; else `path`."""
    own = SHIPPED / str(path)
    return own if str(path) in os.listdir(SHIPPED) and not Path(path).exists() else path


def settings_of(path: str | Path) -> Path:
    """The file that says how the policy in `path` was trained: a run's config.json, or what `convert export` put beside the weights."""
    path = shipped(path)
    return Path(path, SETTINGS) if is_foreign(path) else run_of(path) / "config.json"


def is_policy_directory(path: str | Path) -> bool:
    """Whether `path` holds a policy (`convert import`) rather than a run."""
    return Path(shipped(path), "params").is_dir()


def is_hugging_face_directory(path: str | Path) -> bool:
    """Whether `path` holds safetensors as Hugging Face has them."""
    return any(Path(shipped(path)).glob("*.safetensors"))


def is_foreign(path: str | Path) -> bool:
    """Whether `path` holds a policy in either form, rather than a run."""
    return is_policy_directory(path) or is_hugging_face_directory(path)


def config_of_run(run: str | Path, config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """`config` with the name, policy, tokenizer, image bounds, token caps and feedback that the run in `run` (or RUN@STEP, RUN@best) was
    trained with, or the run that an exported policy comes from."""
    file = settings_of(run)
    if not file.is_file():
        raise FileNotFoundError(f"{str(file.parent)!r} is no run directory: it has no config.json; give the --workdir of a training run")
    try:
        saved = json.loads(file.read_text())
        merged = config.copy_and_resolve_references().unlock()
        merged.name, merged.tokenizer = saved["name"], saved["tokenizer"]
        merged.model.update({key: value for key, value in saved["model"].items() if key != "attention"})  # that is this machine's
        merged.image.update(saved["image"])
        kept = ("response_tokens", "feedback_tokens", "stop_at_fence", "difference")
        merged.rollout.update({key: saved["rollout"][key] for key in kept if key in saved["rollout"]})
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{str(file)!r} is damaged or of no training run ({error!r}); give a run directory that `train` wrote") from None
    return merged.lock()


def is_of_run(path: str | Path) -> bool:
    """Whether `path` says how its policy was trained: a run, or a policy exported from one, rather than weights of others."""
    return not is_foreign(path) or settings_of(path).is_file()


def policy_mark(path: str) -> str:
    """Changes with the policy: config and step of a run; names, sizes and dates of the files of another directory."""
    if is_foreign(path):
        path = shipped(path)
        files = sorted((str(file.relative_to(path)), file.stat().st_size, file.stat().st_mtime_ns) for file in Path(path).rglob("*") if file.is_file())
        return hashlib.sha256(repr(files).encode()).hexdigest()[:12]
    return f"{hashlib.sha256(Path(run_of(path), 'config.json').read_bytes()).hexdigest()[:8]}-{step_of(path)}"


def language_of_run(run: str | Path) -> str:
    """The language that a run (or RUN@STEP, RUN@best) was trained for; python where its config names none."""
    saved = json.loads(settings_of(run).read_text())
    return saved.get("data", {}).get("language", "python")


def trained_policy(path: str | Path, config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh) -> tuple[Policy, nnx.State]:
    """Policy and parameters of a run directory (or RUN@STEP, RUN@best), whose config `config_of_run` has merged, or of a policy directory or a
    Hugging Face directory, which bring their sizes, their dtypes and their tokenizer."""
    path = shipped(path)
    foreign = is_hugging_face_directory(path)
    if not foreign and not is_policy_directory(path):
        policy = policy_of(config)
        return policy, restore_params(path, policy.abstract(mesh))
    sizes, params = import_policy(path, mesh=mesh) if foreign else load_policy(path, mesh=mesh)
    own = Path(path, "." if foreign else "tokenizer")
    if foreign and not (own / "tokenizer.json").is_file():
        raise FileNotFoundError(f"{str(path)!r} holds weights but no tokenizer.json; put the tokenizer's files beside them")
    processor = ImageProcessor(min_pixels=config.image.min_pixels, max_pixels=config.image.max_pixels)
    encoder = Encoder(load_tokenizer(own if own.is_dir() else config.tokenizer), processor)
    sizes = sizes.replace(attention=config.model.attention)
    return Policy(nnx.graphdef(abstract_model(sizes)), sizes, encoder), params


def plan_of(config: ml_collections.ConfigDict) -> Plan:
    """The shape of a training rollout."""
    rollout = config.rollout
    return Plan(
        turns=rollout.turns, branch_turn=rollout.branch_turn, group=rollout.group, response_tokens=rollout.response_tokens,
        feedback_tokens=rollout.feedback_tokens, temperature=rollout.temperature, gamma=rollout.gamma, eta=rollout.eta,
        stop_at_fence=rollout.stop_at_fence, branching=rollout.branching, difference=rollout.difference,
        bonus=rollout.bonus, overlong_tokens=rollout.overlong_tokens, overlong_penalty=rollout.overlong_penalty,
    )


def sandbox_of(config: ml_collections.ConfigDict) -> Sandbox:
    limits = Limits(seconds=config.sandbox.seconds, memory_mb=config.sandbox.memory_mb)
    sandbox = config.sandbox
    return Sandbox(sandbox.workers, limits, isolation=sandbox.isolation, replay=sandbox.replay, language=config.data.language)


def judge_of(
    config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh | None, asked: bool = False
) -> contextlib.AbstractContextManager["Judge | PolicyJudge | None"]:
    """The judge, behind a server or in this process, or nothing where it has no weight and is not asked for anything else."""
    if config.reward.beta == 0 and config.reward.ramp_beta == 0 and not asked:
        return contextlib.nullcontext()
    judge = config.judge
    if judge.policy:
        return policy_judge_of(config, mesh)
    from recoder_jax.rewards.judge import Judge

    return Judge(JudgeOptions(
        base_url=judge.base_url, model=judge.model, key_variable=judge.key_variable, seconds=judge.seconds,
        queue_seconds=judge.queue_seconds, attempt_seconds=judge.attempt_seconds, attempts=judge.attempts, first_pause=judge.first_pause,
        concurrency=judge.concurrency, server_concurrency=judge.server_concurrency, breaker_failures=judge.breaker_failures,
        breaker_pause=judge.breaker_pause, structured=judge.structured, reply_tokens=judge.reply_tokens, max_pixels=judge.max_pixels,
        cache=judge.cache,
    ))


def policy_judge_of(config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh) -> PolicyJudge:
    """A judge in this process from a policy directory, which sees images of up to judge.max_pixels, or from a run directory, which
    sees those of its training."""
    judge, own = config.judge, config.copy_and_resolve_references().unlock()
    own.image.max_pixels = judge.max_pixels
    if not is_policy_directory(judge.policy):
        own = config_of_run(judge.policy, config)
    policy, params = trained_policy(judge.policy, own, mesh)
    sampler = sampler_of(policy, mesh)
    options = PolicyJudgeOptions(
        f"{judge.policy}, {policy_mark(judge.policy)}, {dict(own.image)}", batch=judge.batch, attempts=judge.attempts, reply_tokens=judge.reply_tokens,
        max_pixels=judge.max_pixels, cache=judge.cache,
    )
    return PolicyJudge(sampler, sampler.load(params), policy.encoder, options)


def has_visual(config: ml_collections.ConfigDict) -> bool:
    """Whether the visual part has weight at some update."""
    return config.reward.visual > 0 or config.reward.ramp_visual > 0


def visual_of(config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh) -> contextlib.AbstractContextManager[Visual | None]:
    """What looks at renders, with pretrained weights on the devices of this process or on its host, or nothing where it has no weight."""
    if not has_visual(config):
        return contextlib.nullcontext()
    visual = config.visual
    devices = list(own_mesh(mesh).devices.flat) if visual.device == "policy" else jax.local_devices(backend="cpu")[:1]
    observer = Observer(*observers.read(visual.weights, visual.model, visual.dtype), visual.batch, devices)
    options = VisualOptions(side=visual.side, most=visual.tiles, fine=visual.fine, coarse=visual.coarse, mapping=visual.mapping)
    return Visual(observer, options)


def mixture_of(config: ml_collections.ConfigDict, judge: "Judge | PolicyJudge | None", visual: Visual | None = None) -> Mixture:
    """The reward that a config describes."""
    reward = config.reward
    inner = TextualOptions(
        chart_types=reward.textual_chart_types, layout=reward.textual_layout, texts=reward.textual_texts, data=reward.textual_data,
        tolerance=reward.textual_tolerance, order=reward.textual_order,
    )
    ramp = Ramp(
        reward.ramp_steps, alpha=reward.ramp_alpha, beta=reward.ramp_beta, similarity=reward.ramp_similarity, textual=reward.ramp_textual,
        executed=reward.ramp_executed, visual=reward.ramp_visual, language=reward.ramp_language, attributes=reward.ramp_attributes,
    )
    return Mixture(
        reward.alpha, reward.beta, judge, similarity=reward.similarity, on_missing=reward.on_missing, textual=reward.textual,
        executed=reward.executed, textual_options=inner, ramp=ramp if ramp.steps else None,
        visual=reward.visual, language=reward.language, attributes=reward.attributes, observer=visual,
    )


def sampler_of(policy: Policy, mesh: jax.sharding.Mesh, buckets: Buckets = Buckets(), narrow: bool | None = None) -> Sampler:
    """Decoding runs one block an iteration whatever training does: unrolled, a step on a CPU takes 1.5 x as long. narrow: as of `Sampler`."""
    sizes = dataclasses.replace(policy.config, unroll=1)
    return Sampler(nnx.graphdef(abstract_model(sizes)), sizes, policy.encoder, buckets, mesh, narrow=narrow)


def slots_of(config: ml_collections.ConfigDict) -> Slots:
    """How a training rollout lies on the devices."""
    rollout = config.rollout
    return Slots(rollout.charts, rollout.lanes, rollout.chunk, int8=rollout.cache_dtype == "int8", seats=rollout.seats)


def player_of(
    policy: Policy, sandbox: Sandbox, reward: Mixture | None, mesh: jax.sharding.Mesh, goldens: Goldens, slots: Slots,
    windows: int = Buckets.windows, language: str = "python",
) -> Player:
    """What plays dialogues. windows: of the largest image are padded to at least this (sampling.buckets). language: of `sandbox`, by its name."""
    sampler = sampler_of(policy, mesh, Buckets(windows=windows))
    spoken = find(language)
    return Player(sampler, policy.encoder, sandbox, reward, prompts_of(spoken), goldens, slots, spoken)


def goldens_of(config: ml_collections.ConfigDict) -> Goldens:
    """Golden executions, kept beside the data sets."""
    return Goldens(Path(config.data.dir, "goldens"))
