"""From a config to the parts of a run: encoder, policy, sampler, sandbox, reward, player. Doors call this; nothing below does."""

import dataclasses
import json
from pathlib import Path

import jax
import ml_collections
from flax import nnx

from recoder_jax.charts.sandbox import Limits, Sandbox
from recoder_jax.dialogue.encoder import Encoder, load_tokenizer
from recoder_jax.dialogue.images import ImageProcessor
from recoder_jax.dialogue.turns import Prompts
from recoder_jax.learning.checkpoint import restore_params
from recoder_jax.models.qwen2_5_vl.config import Config, preset
from recoder_jax.models.qwen2_5_vl.model import abstract_model, create
from recoder_jax.models.store import load_policy
from recoder_jax.rewards.judge import Judge, JudgeOptions
from recoder_jax.rewards.mixture import Mixture
from recoder_jax.rollout.play import Plan, Player
from recoder_jax.sampling.engine import Buckets, Sampler
from recoder_jax.sharding import make_mesh, shardings


@dataclasses.dataclass(frozen=True)
class Policy:
    """A Qwen2.5-VL split into structure and parameters, with the encoder that speaks its tokens."""

    graphdef: nnx.GraphDef
    config: Config
    params: nnx.State
    encoder: Encoder


def mesh_of(config: ml_collections.ConfigDict) -> jax.sharding.Mesh:
    return make_mesh(data=config.mesh.data, fsdp=config.mesh.fsdp, tensor=config.mesh.tensor)


def processor_of(config: ml_collections.ConfigDict) -> ImageProcessor:
    return ImageProcessor(min_pixels=config.image.min_pixels, max_pixels=config.image.max_pixels)


def encoder_of(config: ml_collections.ConfigDict) -> Encoder:
    return Encoder(load_tokenizer(config.tokenizer), processor_of(config))


def policy_of(config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh) -> Policy:
    """The policy a run starts from: random weights, or those of `config.init`, a run directory or a policy directory."""
    if config.init and is_policy_directory(config.init):
        return policy_of_directory(config.init, config, mesh)
    encoder = encoder_of(config)
    sizes = policy_sizes(config, encoder)
    if config.init:
        return policy_of_run(config.init, sizes, encoder, mesh)
    graphdef, params = nnx.split(create(sizes, seed=config.seed, mesh=mesh))
    return Policy(graphdef, sizes, params, encoder)


def policy_sizes(config: ml_collections.ConfigDict, encoder: Encoder) -> Config:
    """The preset, with the ids of the encoder's special tokens; the tiny policy has one row for each of its tokenizer's ids."""
    vocab = encoder.vocab_size if config.model.preset == "tiny" else None
    return dataclasses.replace(
        preset(config.model.preset, vocab=vocab, image_id=encoder.image_id),
        end_id=encoder.end_id, pad_id=encoder.pad_id, vision_start_id=encoder.vision_start_id, vision_end_id=encoder.vision_end_id,
        dtype=config.model.dtype, param_dtype=config.model.param_dtype, remat=config.model.remat, unroll=config.model.unroll,
    )


def policy_of_run(run: str | Path, sizes: Config, encoder: Encoder, mesh: jax.sharding.Mesh) -> Policy:
    """The newest parameters of a run directory."""
    graphdef, abstract = nnx.split(abstract_model(sizes))
    placed = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), abstract, shardings(abstract, mesh)
    )
    return Policy(graphdef, sizes, restore_params(run, placed), encoder)


def policy_of_directory(path: str | Path, config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh) -> Policy:
    """A policy directory as `convert import` writes it, in the dtypes of `config.model`, speaking the tokens of its own
    tokenizer where it holds one."""
    sizes, params = load_policy(path, mesh=mesh, dtype=config.model.dtype, param_dtype=config.model.param_dtype)
    sizes = dataclasses.replace(sizes, remat=config.model.remat, unroll=config.model.unroll)
    graphdef, _ = nnx.split(abstract_model(sizes))
    own = Path(path, "tokenizer")
    encoder = Encoder(load_tokenizer(own if own.is_dir() else config.tokenizer), processor_of(config))
    return Policy(graphdef, sizes, params, encoder)


def is_policy_directory(path: str | Path) -> bool:
    """Whether `path` holds a policy (`convert import`) rather than a run."""
    return Path(path, "params").is_dir()


def config_of_run(run: str | Path, config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """`config` with the name, policy, tokenizer and image bounds that the run in `run` was trained with."""
    file = Path(run, "config.json")
    if not file.is_file():
        raise FileNotFoundError(f"{str(run)!r} is no run directory: it has no config.json; give the --workdir of a training run")
    saved = json.loads(file.read_text())
    merged = config.copy_and_resolve_references().unlock()
    for key in ("name", "model", "image", "tokenizer"):
        if key not in saved:
            raise ValueError(f"{str(file)!r} lacks {key!r}; give a run directory that `train` wrote")
        merged[key] = ml_collections.ConfigDict(saved[key]) if isinstance(saved[key], dict) else saved[key]
    return merged.lock()


def trained_policy(path: str | Path, config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh) -> Policy:
    """The policy of a run directory, whose config has been merged by `config_of_run`, or of a policy directory."""
    if is_policy_directory(path):
        return policy_of_directory(path, config, mesh)
    encoder = encoder_of(config)
    return policy_of_run(path, policy_sizes(config, encoder), encoder, mesh)


def plan_of(config: ml_collections.ConfigDict) -> Plan:
    """The shape of a training rollout."""
    rollout = config.rollout
    return Plan(
        turns=rollout.turns, branch_turn=rollout.branch_turn, group=rollout.group, response_tokens=rollout.response_tokens,
        feedback_tokens=rollout.feedback_tokens, temperature=rollout.temperature, gamma=rollout.gamma, eta=rollout.eta,
    )


def sandbox_of(config: ml_collections.ConfigDict) -> Sandbox:
    limits = Limits(seconds=config.sandbox.seconds, memory_mb=config.sandbox.memory_mb)
    return Sandbox(workers=config.sandbox.workers, limits=limits)


def mixture_of(config: ml_collections.ConfigDict) -> Mixture:
    judge = None
    if config.reward.beta > 0:
        options = JudgeOptions(
            base_url=config.judge.base_url, model=config.judge.model, seconds=config.judge.seconds, concurrency=config.judge.concurrency
        )
        judge = Judge(options)
    return Mixture(config.reward.alpha, config.reward.beta, judge)


def player_of(policy: Policy, sandbox: Sandbox, reward: Mixture | None, mesh: jax.sharding.Mesh) -> Player:
    """What plays dialogues. Decoding runs one block an iteration whatever training does: unrolled, a step on a CPU takes 1.5 x as long."""
    sizes = dataclasses.replace(policy.config, unroll=1)
    sampler = Sampler(nnx.graphdef(abstract_model(sizes)), sizes, policy.encoder, Buckets(), mesh)
    return Player(sampler, policy.encoder, sandbox, reward, Prompts())
