"""Judgements on disk by the content of their question, so that nothing is asked twice, by any process.

One small JSON file a judgement, `ab/abcdef....json` by its key. A file appears whole or not at all; one that cannot be read,
or holds no points within their limits, counts as absent and is written again. Several processes may share a directory.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from recoder_jax.rewards.judge_prompt import points_of


def cache_key(*parts: str | bytes) -> str:
    """The key of a question: a hash of everything that decides its answer. Boundaries of the parts count."""
    digest = hashlib.blake2b(digest_size=20)
    for part in parts:
        encoded = part.encode() if isinstance(part, str) else part
        digest.update(len(encoded).to_bytes(8, 'little') + encoded)
    return digest.hexdigest()


class JudgeCache:
    """Points by key in a directory. ValueError when it cannot be made or written."""

    def __init__(self, directory: str | Path):
        self._directory = Path(directory)
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._directory):
                pass
        except OSError as error:
            raise ValueError(f'the cache of judgements {str(directory)!r} cannot be written ({error.strerror}); '
                             'set judge.cache to a directory that can, or to nothing') from error

    def get(self, key: str, known: Callable[[object], dict[str, float] | None] = points_of) -> dict[str, float] | None:
        """Points per item, None when there is no readable entry. known: the points in a JSON value, None where it holds none."""
        try:
            return known(json.loads(self._file(key).read_bytes())['items'])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def put(self, key: str, items: dict[str, float]) -> None:
        """Keeps points. A disk that is full costs the entry and nothing else."""
        file, temporary = self._file(key), None
        try:
            file.parent.mkdir(exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=file.parent, suffix='.tmp')
            with os.fdopen(handle, 'w') as stream:
                json.dump({'items': items}, stream)
            os.replace(temporary, file)
        except OSError:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)

    def _file(self, key: str) -> Path:
        return self._directory / key[:2] / f'{key}.json'
