"""Sizes and sums of a checkpoint's files, so that a damaged checkpoint is known before it is read.

    RUN/checkpoints/<step>/sums.json    {"params/_METADATA": [bytes, CRC-32], ...}

Orbax notices a truncated weight; a weight whose bytes were changed it reads without a word. The sums are written before the checkpoint
is committed, so that none is without. A CRC-32 finds accidents; it keeps nobody from forging a checkpoint.
"""

import json
import os
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SUMS = "sums.json"
MARKS = ("_CHECKPOINT_METADATA", "commit_success.txt")  # Orbax writes them when it commits, after the sums
THREADS = 4  # a CRC lets go of the interpreter


def write_sums(directory: Path) -> None:
    """Take the sizes and sums of all files of a checkpoint that is written and not yet committed."""
    names = sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())
    names = [name for name in names if name not in (*MARKS, SUMS)]
    with ThreadPoolExecutor(THREADS) as pool:
        sums = dict(zip(names, pool.map(lambda name: _measure(directory / name), names), strict=True))
    with open(directory / SUMS, "w", encoding="ascii") as file:
        json.dump(sums, file)
        file.flush()
        os.fsync(file.fileno())


def damage(directory: Path, items: Sequence[str], share: tuple[int, int] = (0, 1)) -> str | None:
    """What is wrong with a committed checkpoint, in words; None when it holds what was written.

    items: directories of the checkpoint to look at. share: (p, n) reads the files p, p + n, ... only, for one of n processes. A checkpoint
    without sums, from before they were written, must only be committed and have all items.
    """
    missing = [item for item in items if not (directory / item).is_dir()]
    if missing:
        return f"{missing[0]} is missing"
    try:
        if not json.loads((directory / MARKS[0]).read_text())["commit_timestamp_nsecs"]:
            return "it was not committed"
    except (OSError, ValueError, KeyError, TypeError):
        return f"{MARKS[0]}, the mark of a finished write, is missing or unreadable"
    if (directory / items[0] / MARKS[1]).exists() and not (directory / MARKS[1]).exists():
        return f"{MARKS[1]}, the mark of a finished write, is missing"
    if not (directory / SUMS).exists():
        return f"{SUMS} is missing" if _has_sums(directory) else None
    try:
        sums = {name: (int(size), int(crc)) for name, (size, crc) in json.loads((directory / SUMS).read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return f"{SUMS} is unreadable"
    return _difference(directory, {name: sums[name] for name in sorted(sums) if name.split("/")[0] in items}, share)


def _has_sums(directory: Path) -> bool:
    """Whether a checkpoint was written by code that writes sums: its position counts the charts too."""
    try:
        return "charts" in json.loads((directory / "position" / "metadata").read_text())
    except (OSError, ValueError):
        return True


def _difference(directory: Path, sums: dict[str, tuple[int, int]], share: tuple[int, int]) -> str | None:
    """The first file that is not what it was. Sizes first: they cost nothing."""
    for name, (size, _) in sums.items():
        path = directory / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes instead of {size}"
    names = list(sums)[share[0] :: share[1]]
    with ThreadPoolExecutor(THREADS) as pool:
        for name, (_, crc) in zip(names, pool.map(lambda name: _measure(directory / name), names), strict=True):
            if crc != sums[name][1]:
                return f"{name} does not hold what was written"
    return None


def _measure(path: Path) -> tuple[int, int]:
    """Bytes of a file and their CRC-32."""
    size = crc = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            size, crc = size + len(block), zlib.crc32(block, crc)
    return size, crc
