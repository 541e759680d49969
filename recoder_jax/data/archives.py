"""Files of a published set, in a directory or in tar or zip archives; archives that were cut off give what they hold up to there."""

import contextlib
import hashlib
import lzma
import os
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeVar

from recoder_jax.data.building import Tally

ARCHIVES = ('.tar.gz', '.tgz', '.tar', '.zip')
SCRATCH = 'unpacked-'
MOST_BYTES = 200_000_000_000  # unpacked, over all members
_CHUNK = 1 << 20
_LOCAL = b'PK\x03\x04'  # before every member of a zip archive
T = TypeVar('T')
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, zlib.error, lzma.LZMAError, OverflowError, NotImplementedError, RuntimeError)
_HASHED = ('.json', '.jsonl', '.py', '.parquet', '.tar', '.gz', '.zip')


class _Cut(Exception):
    """An archive cannot be read further."""


def unpack(archive: Path, target: Path, tally: Tally) -> None:
    """Regular files of an archive into `target`; names that lead out of it are left out. An end that is missing is noted in the tally.

    ValueError for more than MOST_BYTES; OSError where `target` cannot be written.
    """
    written, begun = 0, None
    try:
        members = _reading(lambda: _members(archive))
        while (member := _reading(lambda: next(members, None))) is not None:
            (name, stream), file = member, target / member[0]
            if '..' in Path(name).parts or not file.resolve().is_relative_to(target.resolve()):
                tally.drop('path leads out of the archive', name)
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            begun = file
            with file.open('wb') as out:
                while chunk := _reading(lambda: stream.read(_CHUNK)):
                    written += len(chunk)
                    if written > MOST_BYTES:
                        raise ValueError(f'{archive.name} unpacks to more than {MOST_BYTES} bytes; that is no data set of charts')
                    out.write(chunk)
            begun = None
    except _Cut as error:
        if begun is not None:
            begun.unlink()
        tally.drop(f'archive is not whole: {archive.name}', f'{archive.name} ({error})')


def _reading(step: Callable[[], T]) -> T:
    """What a step of reading gives; _Cut where the archive is damaged. Writing is not inside, so that a full disk is no cut archive."""
    try:
        return step()
    except _BROKEN as error:
        raise _Cut(type(error).__name__) from None


def _members(path: Path) -> Iterator:
    if zipfile.is_zipfile(path):
        return _zip_members(path)
    with path.open('rb') as file:
        cut_zip = file.read(len(_LOCAL)) == _LOCAL      # without the table of contents at its end
    return _cut_zip_members(path) if cut_zip else _tar_members(path)


def _tar_members(path: Path) -> Iterator:
    with tarfile.open(path, 'r:*') as archive:
        for member in archive:
            if member.isfile():
                yield member.name, archive.extractfile(member)


def _zip_members(path: Path) -> Iterator:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.is_dir():
                yield member.filename, archive.open(member)


def _cut_zip_members(path: Path) -> Iterator:
    """Members of a zip archive whose end is missing, by the headers before them (APPNOTE 4.3.7). Ends with EOFError."""
    with path.open('rb') as file:
        while (head := file.read(30)).startswith(_LOCAL) and len(head) == 30:
            flags, method, packed, length, extra = struct.unpack('<6xHH8xI4xHH', head)
            name = file.read(length).decode('utf-8' if flags & 0x800 else 'cp437')
            file.seek(extra, os.SEEK_CUR)
            described = bool(flags & 8)      # its size stands behind it
            if flags & 1 or method not in (0, 8) or (described and method == 0):
                raise zipfile.BadZipFile(f'{name} cannot be read without the end of the archive')
            stream = _Inflated(file) if method else _Stored(file, packed)
            if not name.endswith('/'):
                yield name, stream
            stream.leave()
            if described:
                file.seek(16 if file.read(4) == b'PK\x07\x08' else 12, os.SEEK_CUR)
                file.seek(-4, os.SEEK_CUR)
        raise EOFError('the archive ends before its table of contents')


class _Stored:
    """`size` bytes of a file, uncompressed."""

    def __init__(self, file, size: int):
        self._file, self._left = file, size

    def read(self, size: int) -> bytes:
        found = self._file.read(min(size, self._left))
        if self._left and not found:
            raise EOFError('cut off')
        self._left -= len(found)
        return found

    def leave(self) -> None:
        """Puts the file behind the member."""
        self._file.seek(self._left, os.SEEK_CUR)


class _Inflated:
    """A deflated stream of a file, to its own end."""

    def __init__(self, file):
        self._file, self._inflate = file, zlib.decompressobj(-zlib.MAX_WBITS)

    def read(self, size: int) -> bytes:
        while not self._inflate.eof:
            packed = self._inflate.unconsumed_tail or self._file.read(_CHUNK)
            if not packed:
                raise EOFError('cut off')
            found = self._inflate.decompress(packed, size)
            if found:
                return found
        return b''

    def leave(self) -> None:
        """Puts the file behind the member, of which all was read."""
        while self.read(_CHUNK):
            pass
        self._file.seek(-len(self._inflate.unused_data), os.SEEK_CUR)


@contextlib.contextmanager
def unpacked(source: Path, out: Path, tally: Tally) -> Iterator[list[Path]]:
    """Directories that together hold the files of `source`: itself where it is one, and what its archives (or it) unpack to."""
    if not source.exists():
        raise FileNotFoundError(f'there is no {str(source)!r}; give the directory or the archive that was downloaded')
    archives = [file for file in ([source] if source.is_file() else sorted(source.iterdir())) if file.name.endswith(ARCHIVES)]
    if not archives:
        yield [source.parent if source.is_file() else source]
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(out)
        scratch = Path(mkdtemp(prefix=f'{SCRATCH}{os.getpid()}-', dir=out))
    except OSError as error:
        raise OSError(f'{str(out)!r} cannot be written ({error.strerror}); choose another --out') from None
    try:
        for archive in archives:
            unpack(archive, scratch, tally)
        yield [scratch] if source.is_file() else [scratch, source]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _remove_abandoned(out: Path) -> None:
    """What processes that were killed had unpacked."""
    for scratch in out.glob(f'{SCRATCH}*-*'):
        process = scratch.name.removeprefix(SCRATCH).partition('-')[0]
        if process.isdigit() and not Path('/proc', process).exists():
            shutil.rmtree(scratch, ignore_errors=True)


def find_file(directories: list[Path], name: str) -> Path | None:
    """The file of this name, at the top of a directory or anywhere below; the shallowest one."""
    for directory in directories:
        found = sorted(directory.rglob(name), key=lambda file: (len(file.parts), str(file)))
        if found:
            return found[0]
    return None


def fingerprint(source: Path) -> str:
    """A hash of a file's content, or of a directory's names and sizes and the contents of its records and archives."""
    digest = hashlib.sha256()
    for file in [source] if source.is_file() else sorted(file for file in source.rglob('*') if file.is_file()):
        digest.update(f'{file.relative_to(source)} {file.stat().st_size}\n'.encode('utf-8', 'surrogateescape'))
        if file.suffix in _HASHED or file == source:
            with file.open('rb') as stream:
                digest.update(hashlib.file_digest(stream, 'sha256').digest())
    return digest.hexdigest()[:16]


class Pictures:
    """Image files below some directories, found by the path a record gives: as it stands, by its end, or by its name alone."""

    ENDINGS = ('.png', '.jpg', '.jpeg', '.webp')

    def __init__(self, directories: list[Path]):
        self._by_name: dict[str, list[Path]] = {}
        for directory in directories:
            for file in sorted(directory.rglob('*')):
                if file.suffix.lower() in self.ENDINGS and file.is_file():
                    self._by_name.setdefault(file.name, []).append(file)

    def find(self, path: str) -> Path | None:
        """The file whose path ends like `path`; None where none has its name, or where several do and none ends like it."""
        parts = [part for part in path.replace('\\', '/').split('/') if part not in ('', '.')]
        files = self._by_name.get(parts[-1], []) if parts else []
        for length in range(len(parts), 1, -1):
            ending = [file for file in files if file.parts[-length:] == tuple(parts[-length:])]
            if ending:
                return ending[0]
        return files[0] if len(files) == 1 else None
