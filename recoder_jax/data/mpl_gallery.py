"""`mpl_gallery`: real charts from matplotlib's own source distribution.

Every script below galleries/ runs in the sandbox; those that leave a figure become chart-program pairs. The program is the script as
published. A script's split is decided by a hash of its path, so it never changes.
"""

import hashlib
import lzma
import re
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from recoder_jax.charts.chart import Chart
from recoder_jax.charts.execution import Limits
from recoder_jax.charts.sandbox import Sandbox
from recoder_jax.data.builders import ChartRecord
from recoder_jax.data.building import Built, Request, Tally, build, failure_reason, find_standing, in_order
from recoder_jax.dialogue.response import write_response

NAME = 'mpl_gallery'
DOWNLOAD, DOWNLOAD_VERSION = 'download', '3.8.4'
DOWNLOAD_SCRIPTS = '7ec2f5c59c9879cf'  # _content_hash of that version's scripts: what a download must bring
LICENCE = 'Matplotlib license, based on the PSF license (see LICENSE beside this card)'
SPLITS = ('train', 'validation', 'test')
MAX_MEMBERS, MAX_SCRIPT_BYTES = 20_000, 1_000_000


@dataclass(frozen=True)
class Gallery:
    """An unpacked source distribution: version of matplotlib ('unknown' when not recorded), licence text, scripts by path, and paths of scripts that are
    too large to be read."""

    version: str
    licence_text: str
    scripts: Mapping[str, bytes]
    oversized: tuple[str, ...] = ()


def prepare_gallery(source: str, out: str | Path, workers: int, limits: Limits) -> Built:
    """Builds the set from `source`: 'download', a source archive (.tar.gz), or an unpacked directory.

    Splits: 80 % train, 10 % validation, 10 % test. Raises FileNotFoundError or ValueError with one sentence for a source without
    scripts, and what `build` raises.
    """
    if source == DOWNLOAD:
        # what would be fetched is known, so a finished set needs no network
        standing = find_standing(_request(DOWNLOAD_VERSION, DOWNLOAD_SCRIPTS, limits), out)
        if standing:
            return standing
    with open_gallery(source) as gallery:
        tally = Tally()
        texts = _readable(gallery.scripts, tally)
        for path in gallery.oversized:
            tally.drop(f'program over {MAX_SCRIPT_BYTES} bytes', path)
        request = _request(gallery.version, _content_hash(gallery.scripts), limits)
        standing = find_standing(request, out)
        if standing:
            return standing
        with Sandbox(workers=workers, limits=limits) as sandbox:
            splits = {
                split: lambda split=split: _records(sandbox, split, texts, gallery.version, workers, tally)
                for split in SPLITS
                if any(split_of(path) == split for path in texts)
            }
            return build(request, splits, tally, out, {'LICENSE': gallery.licence_text})


@contextmanager
def open_gallery(source: str) -> Iterator[Gallery]:
    """The gallery of `source`; what had to be downloaded is removed at the end."""
    if source == DOWNLOAD:
        with TemporaryDirectory() as scratch:
            gallery = read_archive(download(Path(scratch)))
            found = _content_hash(gallery.scripts)
            if found != DOWNLOAD_SCRIPTS:
                raise ValueError(f'the download of matplotlib {DOWNLOAD_VERSION} brought other scripts ({found}, not {DOWNLOAD_SCRIPTS}); download again')
            yield gallery
        return
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(f"there is no {source!r}; give matplotlib's source archive, its unpacked directory, or 'download'")
    yield read_directory(path) if path.is_dir() else read_archive(path)


def download(directory: Path, version: str = DOWNLOAD_VERSION) -> Path:
    """Fetches the source archive of matplotlib with pip into `directory`; ValueError with pip's last error line when it fails."""
    # pip reads the metadata of a source archive by its build backend, so the build requirements must come isolated
    command = [sys.executable, '-m', 'pip', 'download', '--no-deps', '--no-binary', 'matplotlib', '--disable-pip-version-check']
    done = subprocess.run(
        [*command, '--dest', str(directory), f'matplotlib=={version}'], capture_output=True, text=True, errors='replace', check=False
    )
    archives = sorted(directory.glob('matplotlib-*.tar.gz'))
    if done.returncode or not archives:
        errors = [line.strip() for line in done.stderr.splitlines() if line.strip().lower().startswith('error')]
        raise ValueError(f'pip could not download matplotlib {version} ({(errors or ["no reason given"])[-1]}); give --source PATH')
    return archives[0]


def read_archive(path: Path) -> Gallery:
    """Scripts, licence and version out of a .tar.gz, read in memory: nothing is unpacked to disk."""
    files, oversized = {}, []
    try:
        with tarfile.open(path, 'r:*') as archive:
            for count, member in enumerate(archive):
                if count >= MAX_MEMBERS:
                    raise ValueError(f'{str(path)!r} has over {MAX_MEMBERS} members; it is not a source archive of matplotlib')
                # names begin with the directory matplotlib-VERSION/
                name = member.name.partition('/')[2]
                if member.isfile() and _is_wanted(name):
                    if member.size > MAX_SCRIPT_BYTES:
                        oversized.append(name)
                    else:
                        files[name] = archive.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError, OverflowError, zlib.error, lzma.LZMAError):
        raise ValueError(f'{str(path)!r} is not a whole tar archive; download it again') from None
    return _gallery(files, path, oversized)


def read_directory(path: Path) -> Gallery:
    """The same from an unpacked directory (the one that holds galleries/)."""
    files, oversized = {}, []
    for file in sorted(path.rglob('*')):
        name = file.relative_to(path).as_posix()
        if _is_wanted(name) and file.is_file() and not file.is_symlink():
            if file.stat().st_size > MAX_SCRIPT_BYTES:
                oversized.append(name)
            else:
                files[name] = file.read_bytes()
    return _gallery(files, path, oversized)


def split_of(path: str) -> str:
    """The split a script belongs to, by a hash of its path."""
    place = hashlib.sha256(path.encode()).digest()[0] / 256
    return 'train' if place < 0.8 else 'validation' if place < 0.9 else 'test'


def kind_of(path: str) -> str:
    """The gallery section a script stands in, e.g. 'lines_bars_and_markers'."""
    parts = path.split('/')
    return parts[2] if len(parts) > 3 else parts[1]


def _is_wanted(name: str) -> bool:
    script = name.startswith('galleries/') and name.endswith('.py') and '..' not in name.split('/')
    return script or name in ('LICENSE/LICENSE', 'PKG-INFO')


def _gallery(files: dict[str, bytes], path: Path, oversized: Sequence[str]) -> Gallery:
    scripts = {name: files[name] for name in sorted(files) if name.endswith('.py')}
    if not scripts:
        raise ValueError(f"{str(path)!r} has no scripts below galleries/; give matplotlib's source archive or its unpacked directory")
    version = re.search(rb'^Version: (\S+)', files.get('PKG-INFO', b''), re.MULTILINE)
    licence = files.get('LICENSE/LICENSE', b'The source held no licence text; see https://matplotlib.org/stable/project/license.html\n')
    return Gallery(version[1].decode() if version else 'unknown', licence.decode('utf-8', 'replace'), scripts, tuple(sorted(name for name in oversized if name.endswith('.py'))))


def _readable(scripts: Mapping[str, bytes], tally: Tally) -> dict[str, str]:
    """Scripts as text, by path; those that no response could hold are dropped."""
    texts = {}
    for path, content in scripts.items():
        try:
            text = content.decode('utf-8').replace('\r\n', '\n')
            write_response('', text)
            if b'\r\n' in content:
                tally.repair('Windows line ends')
        except UnicodeDecodeError:
            tally.drop('not UTF-8', path)
        except ValueError:
            tally.drop('not a program that a response can hold', path)
        else:
            texts[path] = text
    return texts


def _records(
    sandbox: Sandbox, split: str, texts: Mapping[str, str], version: str, workers: int, tally: Tally
) -> Iterator[ChartRecord]:
    paths = [path for path in texts if split_of(path) == split]
    done = in_order(sandbox, paths, lambda path: (texts[path],), ahead=4 * workers)
    for path, (execution,) in tqdm(done, f'{NAME} {split}', len(paths), unit='script', mininterval=1):
        if not execution.ok:
            tally.drop(failure_reason(execution), path)
            continue
        chart = Chart(f'{NAME}/{path.removeprefix("galleries/").removesuffix(".py")}', execution.render, texts[path], kind_of(path))
        yield ChartRecord(chart, think='', licence=LICENCE, origin=f'matplotlib {version}: {path}')


def _content_hash(scripts: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for path, content in scripts.items():
        digest.update(path.encode() + b'\0' + hashlib.sha256(content).digest())
    return digest.hexdigest()[:16]


def _request(version: str, content: str, limits: Limits) -> Request:
    return Request(
        name=NAME,
        config='matplotlib_' + re.sub(r'\W', '_', version),
        form='charts',
        arguments={'matplotlib': version, 'scripts_sha256': content, 'seconds': limits.seconds},
        description="Chart-program pairs: the scripts of matplotlib's gallery that draw a figure, each with its render at 100 dpi.",
        licence=LICENCE,
        origin=f"galleries/ of matplotlib {version}'s source distribution",
    )
