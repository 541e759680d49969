"""How several runs stand in a report: as a chain, one after the other, or side by side, those that differ only in seed as one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import json
from pathlib import Path
import re

ARRANGEMENTS = ('chain', 'overlay')
# Keys that say where a run lies, on how many devices, and what it tells of itself, but not what it computes.
_OUTSIDE = ('name', 'profile', 'mirror', 'versions.', 'data.dir', 'mesh.', 'sandbox.workers', 'sandbox.isolation', 'checkpoint.', 'log.', 'alarms.', 'evaluation.',
            'judge.base_url', 'judge.cache')
_MOST_BEFORE = 8      # runs a chain of `init` is followed back


@dataclass(frozen=True)
class Member:
    """A run of a report. config: flat, {} where there is none."""

    path: Path
    config: Mapping[str, object]


@dataclass(frozen=True)
class Group:
    """Runs that are one but for their seeds. label: in legends. runs: their places in the report. seeds: of the runs, '' where unknown."""

    label: str
    runs: tuple[int, ...]
    seeds: tuple[str, ...]


def flatten(config: Mapping, prefix: str = '') -> dict[str, object]:
    """{'a': {'b': 1}} as {'a.b': 1}."""
    flat = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f'{prefix}{key}.')
        else:
            flat[f'{prefix}{key}'] = value
    return flat


def arrangement_of(members: Sequence[Member]) -> str:
    """`chain` where a run starts from another one or where the runs are different stages, that is differ in kind or branch turn; else
    `overlay`. One run, or one without a config, is a chain."""
    if len(members) < 2 or not all(member.config for member in members):
        return 'chain'
    places = {member.path.resolve() for member in members}
    if any(member.config.get('init') and Path(str(member.config['init'])).resolve() in places for member in members):
        return 'chain'
    return 'overlay' if len({_stage_of(member.config) for member in members}) == 1 else 'chain'


def _stage_of(config: Mapping[str, object]) -> tuple:
    return config.get('kind'), None if config.get('kind') == 'sft' else config.get('rollout.branch_turn')


def is_seed(key: str) -> bool:
    return key.split('.')[-1] == 'seed' or key.endswith('_seed')


def recipe_of(config: Mapping[str, object], depth: int = 0) -> str:
    """What a run computes, without its seeds, as text that can be compared. A run that `init` names counts as its own recipe, where it can
    be read: runs that start from other seeds of one recipe have one recipe."""
    told = {key: value for key, value in config.items() if not is_seed(key) and not key.startswith(_OUTSIDE)}
    before = Path(str(config.get('init') or '')) / 'config.json'
    if config.get('init') and depth < _MOST_BEFORE and before.is_file():
        try:
            told['init'] = recipe_of(flatten(json.loads(before.read_bytes())), depth + 1)
        except (ValueError, AttributeError):
            pass      # a damaged config of another run: its place names it
    return json.dumps(told, sort_keys=True, default=str)


def groups_of(members: Sequence[Member]) -> list[Group]:
    """Runs with one recipe together, in the order of their first; a run without a config stands alone."""
    names, found = names_of([member.path for member in members]), {}
    for place, member in enumerate(members):
        found.setdefault(recipe_of(member.config) if member.config else place, []).append(place)
    labels: list[str] = []
    for places in found.values():
        label = common_name([names[place] for place in places])
        labels.append(label if label not in labels else f'{label} ({1 + sum(each.startswith(label) for each in labels)})')
    return [Group(label, tuple(places), tuple(str(members[place].config.get('seed', '')) for place in places))
            for label, places in zip(labels, found.values(), strict=True)]


def names_of(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart; equal paths get equal names."""
    parts = [path.resolve().parts for path in paths]
    for length in range(1, max(map(len, parts), default=1) + 1):
        names = ['/'.join(each[-length:]) for each in parts]
        if len(set(names)) == len(set(parts)):
            break
    return names


def common_name(names: Sequence[str]) -> str:
    """The words all names have: 'clip' for clip_seed0 and clip_seed1; the names themselves where they have none."""
    if len(names) == 1:
        return names[0]
    words = [re.split(r'[/_.\-]+', name) for name in names]
    shared = [word for word in words[0] if all(word in other for other in words)]
    return ' '.join(shared) or ', '.join(names)


def differences(members: Sequence[Member], groups: Sequence[Group]) -> list[tuple[str, list[str]]]:
    """Rows (key, value by group) of the keys in which the runs differ, seeds last; values that differ within a group are joined."""
    keys = sorted({key for member in members for key in member.config if not key.startswith('versions.')}, key=lambda key: (is_seed(key), key))
    rows = []
    for key in keys:
        values = [[str(members[place].config.get(key, '–')) for place in group.runs] for group in groups]
        if len({value for each in values for value in each}) > 1:
            rows.append((key, [', '.join(dict.fromkeys(each)) for each in values]))
    return rows
