"""Converts a policy between Hugging Face safetensors and our checkpoint form.

    python -m recoder_jax.convert import HUGGING_FACE_DIR CHECKPOINT_DIR [--param-dtype float32|bfloat16]
    python -m recoder_jax.convert export RUN_OR_CHECKPOINT_DIR HUGGING_FACE_DIR [--tokenizer DIR] [--shard-gb 4]

Bad input ends with one sentence and exit code 2.
"""

from __future__ import annotations

import argparse
import functools
import json
import pathlib
import shutil
import sys
from collections.abc import Sequence

from flax import nnx
from tqdm import tqdm

from recoder_jax import factory
from recoder_jax.configuration import defaults
from recoder_jax.dialogue.encoder import tokenizer_directory
from recoder_jax.doors import door
from recoder_jax.learning.checkpoint import run_of
from recoder_jax.models import huggingface, store
from recoder_jax.models.qwen2_5_vl.config import Config


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the door; returns the exit code: 0, or 2 for bad input."""
    options = _parser().parse_args(arguments)
    run = _import if options.direction == 'import' else _export
    return door('convert', lambda: print(run(options)))


def _import(options: argparse.Namespace) -> str:
    _refuse_occupied(options.target)
    bar = functools.partial(tqdm, desc='weights', file=sys.stderr)
    source = pathlib.Path(factory.shipped(options.source))
    config, state = huggingface.import_policy(source, param_dtype=options.param_dtype, progress=bar)
    store.save_policy(options.target, config, state, tokenizer=source)
    if (source / factory.SETTINGS).is_file():
        shutil.copy(source / factory.SETTINGS, options.target)
    return f'{config.parameters():,} parameters in {config.param_dtype} written to {options.target}'


def _export(options: argparse.Namespace) -> str:
    _refuse_occupied(options.target)
    if options.tokenizer and not options.tokenizer.is_dir():
        raise FileNotFoundError(f'{options.tokenizer} does not exist; give a directory with tokenizer files.')
    if options.shard_gb <= 0:
        raise ValueError(f'--shard-gb is {options.shard_gb}; give a positive number of gigabytes.')
    config, state, tokenizer = _trained(options.source)
    settings = _settings(options.source)
    bar = functools.partial(tqdm, desc='shards', file=sys.stderr)
    huggingface.export_policy(
        options.target, config, state, options.tokenizer or tokenizer, shard_bytes=int(options.shard_gb * 1e9), progress=bar
    )
    if settings:
        (options.target / factory.SETTINGS).write_text(json.dumps(settings, indent=1, sort_keys=True) + '\n')
    return f'{config.parameters():,} parameters in {config.param_dtype} written to {options.target}'


def _settings(source: pathlib.Path) -> dict:
    """What of its run a policy needs to be used: sizes, image bounds, token caps, language; {} where it says nothing of one."""
    if not factory.is_of_run(source) or not factory.settings_of(source).is_file():
        return {}
    saved = json.loads(factory.settings_of(source).read_text())
    kept = {'data': ('language',), 'rollout': ('response_tokens', 'feedback_tokens', 'stop_at_fence', 'difference')}
    found = {key: saved[key] for key in ('name', 'tokenizer', 'model', 'image')}
    return found | {section: {key: saved[section][key] for key in keys if key in saved.get(section, {})} for section, keys in kept.items()}


def _trained(source: pathlib.Path) -> tuple[Config, nnx.State, pathlib.Path]:
    """Sizes, weights and tokenizer directory of a policy directory, or of a run's newest checkpoint, or that of RUN@STEP or RUN@best."""
    if factory.is_policy_directory(source) or not (run_of(source) / 'checkpoints').is_dir():
        return *store.load_policy(source), source / 'tokenizer'
    config = factory.config_of_run(source, defaults())
    policy, params = factory.trained_policy(source, config, factory.one_device())
    return policy.config, params, tokenizer_directory(config.tokenizer)


def _refuse_occupied(target: pathlib.Path) -> None:
    """Raises before the work rather than after it."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f'{target} exists and is not empty; choose another directory or remove it.')


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m recoder_jax.convert', description=__doc__.split('\n')[0], allow_abbrev=False
    )
    directions = parser.add_subparsers(dest='direction', required=True)
    into = directions.add_parser('import', help='Hugging Face checkpoint -> policy checkpoint')
    out = directions.add_parser('export', help='run directory (or RUN@STEP, RUN@best) or policy checkpoint -> Hugging Face checkpoint')
    for direction in (into, out):
        named = ', or tiny, which comes with the package' if direction is into else ''
        direction.add_argument('source', type=pathlib.Path, help=f'directory to read{named}')
        direction.add_argument('target', type=pathlib.Path, help='directory to write; must not exist or be empty')
    into.add_argument('--param-dtype', choices=('float32', 'bfloat16'), help='dtype of the weights (default: as stored)')
    out.add_argument('--tokenizer', type=pathlib.Path, help="directory of tokenizer files (default: the checkpoint's)")
    out.add_argument('--shard-gb', type=float, default=4.0, help='largest safetensors file, in GB (default 4)')
    return parser


if __name__ == '__main__':
    sys.exit(main())
