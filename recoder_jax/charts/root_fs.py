"""The file system a program lives in: system paths, read-only, and one scratch directory of bounded size.

    system_paths   what Python, matplotlib and their libraries read, as few directories as that takes
    PrivateRoot    a small file system of its own that has these paths and nothing else; the one outside is unmounted
    expose         for a simulated tier only: lets an ordinary user reach paths that lie under a closed directory
"""

import json
import os
import site
import stat
import sys
import sysconfig
from pathlib import Path

from recoder_jax.charts import linux
from recoder_jax.charts.linux import Linux

SCRATCH = '/job'
DEVICES = ('/dev/null', '/dev/zero', '/dev/urandom', '/dev/random')
_SYSTEM = ('/usr', '/lib', '/lib32', '/lib64', '/etc/alternatives', '/etc/fonts', '/etc/ld.so.cache', '/etc/localtime',
           '/etc/matplotlibrc', '/etc/mime.types', '/nix/store', '/gnu/store')
# What starts a program that is linked to libraries.
LOADERS = ('/lib64/ld-linux-x86-64.so.2', '/lib/ld-linux-aarch64.so.1')
# Packages that are looked for outside the installation directories: an editable install puts its source on the path.
_PACKAGES = ('matplotlib', 'mpl_toolkits', 'numpy', 'scipy', 'pandas', 'seaborn', 'networkx', 'squarify', 'PIL')
_ROOT_OPTIONS = 'size=1m,nr_inodes=4096,mode=755'


def system_paths(cache: str, more: tuple[str, ...] = ()) -> list[str]:
    """Existing paths that have to be read, none of which lies below another.

    cache: matplotlib's directory of caches; the font files listed in it are among the paths. more: what a guest reads.
    """
    here = Path(__file__).resolve().parent
    found = {*_SYSTEM, *more, str(here), str(here.parent / 'languages'), str(here.parent / '__init__.py')}
    found |= {sysconfig.get_path(name) for name in ('stdlib', 'platstdlib', 'purelib', 'platlib')}
    found |= {os.path.join(prefix, name) for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix)
              for name in ('lib', 'lib64', 'share')}
    found |= set(site.getsitepackages())
    for entry in sys.path:
        if os.path.isdir(entry):
            installed = any(Path(entry).glob('*.dist-info'))
            found |= {entry} if installed else {os.path.join(entry, name) for name in _PACKAGES}
    found |= _loaded_libraries() | _listed_fonts(cache)
    found |= {os.path.realpath(path) for path in found}
    present = sorted(path for path in found if os.path.exists(path) and path != '/')
    return [path for path in present if not any(is_below(path, other) for other in present)]


def is_below(path: str, folder: str) -> bool:
    """Whether `path` lies below `folder`, by their names."""
    return path != folder and path.startswith(folder.rstrip('/') + '/')


def _loaded_libraries() -> set[str]:
    """Folders of the shared libraries this process has loaded."""
    try:
        with open('/proc/self/maps') as file:
            mapped = {line.split(maxsplit=5)[-1].strip() for line in file if '.so' in line}
    except OSError:
        return set()
    return {os.path.dirname(path) for path in mapped if path.startswith('/')}


def _listed_fonts(cache: str) -> set[str]:
    """Folders of the fonts in matplotlib's list, where it exists; paths of its own fonts in it are relative."""
    folders = set()
    for file in Path(cache).glob('fontlist-*.json'):
        try:
            entries = json.loads(file.read_text())['ttflist']
            folders |= {os.path.dirname(entry['fname']) for entry in entries if os.path.isabs(entry['fname'])}
        except (OSError, ValueError, KeyError, TypeError):
            continue                   # matplotlib then writes the list anew
    return folders


class PrivateRoot:
    """A root of its own for this process and its children, in a mount namespace of its own."""

    def __init__(self, call: Linux, readable: list[str], cache: str, scratch_mb: int, scratch_files: int, guest: str = ''):
        """guest: path of a program that is started and looks for its own file; there is no other sign of /proc."""
        self._call = call
        self._readable = readable
        self._cache = cache
        self._guest = guest
        self._scratch = f'size={scratch_mb}m,nr_inodes={scratch_files},mode=700'

    def enter(self, base: str) -> None:
        """Leaves the file system outside for good; `base` is an existing directory to build on. OSError if denied."""
        call = self._call
        call.unshare(linux.CLONE_NEWNS)
        call.mount(None, '/', None, linux.MS_REC | linux.MS_PRIVATE)
        call.mount('tmpfs', base, 'tmpfs', linux.MS_NOSUID | linux.MS_NODEV, _ROOT_OPTIONS)
        closed = linux.MS_NOSUID | linux.MS_NODEV
        for path in self._readable:
            self._bind(base, path, closed | linux.MS_RDONLY)
        self._bind(base, self._cache, closed | linux.MS_NOEXEC)
        for path in filter(os.path.exists, DEVICES):
            self._bind(base, path, linux.MS_NOSUID | linux.MS_NOEXEC)
        if self._guest:
            os.makedirs(base + '/proc/self')
            os.symlink(self._guest, base + '/proc/self/exe')
        os.mkdir(base + SCRATCH)
        call.mount('tmpfs', base + SCRATCH, 'tmpfs', closed | linux.MS_NOEXEC, self._scratch)
        os.chdir(base)
        call.pivot_root()

    def seal(self, user: int) -> None:
        """Gives the scratch directory to `user` and ends the writing that was needed to set up."""
        os.makedirs('/etc', exist_ok=True)
        Path('/etc/passwd').write_text(f'program:x:{user}:{user}::{SCRATCH}:/bin/false\n')
        os.chown(SCRATCH, user, user)
        for path in ('/', self._cache):
            self._call.restrict_mount(path, linux.MS_RDONLY)

    def _bind(self, base: str, path: str, flags: int) -> None:
        place_for(base + path, path)
        self._call.mount(path, base + path, None, linux.MS_BIND | linux.MS_REC)
        self._call.restrict_mount(base + path, flags, recursive=True)


def place_for(place: str, path: str) -> None:
    """Makes a directory or an empty file, as `path` is, to mount on."""
    if os.path.isdir(path):
        os.makedirs(place, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(place), exist_ok=True)
        open(place, 'a').close()


def expose(call: Linux, readable: list[str], cache: str, user: int) -> None:
    """Puts the paths where an ordinary user reaches them, as root and in a mount namespace of this process.

    A closed directory on the way is covered by an empty one that has the needed paths only; the cache is a copy that
    belongs to `user`.
    """
    call.unshare(linux.CLONE_NEWNS)
    call.mount(None, '/', None, linux.MS_REC | linux.MS_PRIVATE)
    copies = {file.name: file.read_bytes() for file in Path(cache).glob('*.json')}
    handles = {path: os.open(path, os.O_PATH) for path in readable}
    covered = {closed for path in [*readable, cache] if (closed := _closed_above(path))}
    for closed in sorted(covered):
        call.mount('tmpfs', closed, 'tmpfs', linux.MS_NOSUID | linux.MS_NODEV, _ROOT_OPTIONS)
    for path, handle in handles.items():
        if any(is_below(path, closed) for closed in covered):
            source = f'/proc/self/fd/{handle}'
            place_for(path, source)
            call.mount(source, path, None, linux.MS_BIND | linux.MS_REC)
        os.close(handle)
    os.makedirs(cache, exist_ok=True)
    call.mount('tmpfs', cache, 'tmpfs', linux.MS_NOSUID | linux.MS_NODEV, f'size=64m,mode=755,uid={user},gid={user}')
    for name, content in copies.items():
        Path(cache, name).write_bytes(content)


def _closed_above(path: str) -> str:
    """The first directory on the way to `path` that others cannot pass; '' without one."""
    for folder in reversed(Path(path).parents):
        if not os.stat(folder).st_mode & stat.S_IXOTH:
            return str(folder)
    return ''
