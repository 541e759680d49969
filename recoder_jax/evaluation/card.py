"""The reference card of an evaluation: what decides its numbers, so that others can get them again or see what differs."""

import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from matplotlib import font_manager

from recoder_jax.runs.scorecards import ReferenceCard

DRAWING = ('matplotlib', 'numpy', 'scipy', 'Pillow', 'seaborn', 'pandas', 'networkx', 'squarify', 'matplotlib-venn')  # what renders and elements depend on
PLAYING = ('jax', 'flax', 'transformers', 'openai')
_PACKAGE = Path(__file__).resolve().parent.parent


def reference_card(subject: str, config_hash: str, seeds: Mapping[str, int], judge_model: str = '') -> ReferenceCard:
    """The card of an evaluation that is made now."""
    return ReferenceCard(
        subject=subject, config_hash=config_hash, code_version=code_version(), packages=versions(DRAWING + PLAYING), fonts=fonts(),
        seeds=dict(seeds), judge_model=judge_model, date=datetime.now(UTC).date().isoformat(),
    )  # fmt: skip


def versions(names: tuple[str, ...]) -> dict[str, str]:
    """Python and the packages of these names; '' for one that is not installed."""
    found = {'python': platform.python_version(), 'machine': platform.machine()}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = ''
    return found


def code_version() -> str:
    """Twelve hexadecimal digits that change with any source of this package."""
    digest = hashlib.sha256()
    for file in sorted(_PACKAGE.rglob('*.py')):
        digest.update(file.relative_to(_PACKAGE).as_posix().encode() + b'\0' + file.read_bytes() + b'\0')
    return digest.hexdigest()[:12]


def fonts() -> str:
    """Number of the fonts matplotlib knows and a hash of their names and sizes: texts are drawn, and measured, with them."""
    files = sorted({(path.name, path.stat().st_size) for font in font_manager.fontManager.ttflist if (path := Path(font.fname)).is_file()})
    return f'{len(files)} files, {hashlib.sha256(repr(files).encode()).hexdigest()[:12]}'


def differences(then: ReferenceCard, now: ReferenceCard) -> list[str]:
    """What may make rule scores differ between two cards, a sentence each."""
    found = [f'{name} was {version or "not installed"}, now it is {now.packages.get(name) or "not installed"}'
             for name, version in then.packages.items() if name in ('python', 'machine', *DRAWING) and version != now.packages.get(name)]
    if then.fonts != now.fonts:
        found.append(f'fonts were {then.fonts}, now they are {now.fonts}')
    if then.code_version != now.code_version:
        found.append(f'the code was {then.code_version}, now it is {now.code_version}')
    return found
