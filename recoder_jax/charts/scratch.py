"""The scratch directory of a program."""

import errno
import itertools
import os
import stat
from collections.abc import Iterator

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DEEPEST = 100          # levels


def empty_directory(path: str) -> None:
    """Makes `path` an empty directory of mode 0700, whatever a program left there.

    Links are removed, never followed. What lies two levels down is lifted to the first before its directory is removed:
    a path, a stack and the walk upwards that Landlock makes at each operation stay short however deep the tree was.
    """
    try:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.unlink(path)
            os.mkdir(path, 0o700)
    except FileNotFoundError:
        os.mkdir(path, 0o700)
    os.chmod(path, 0o700)
    top = os.open(path, _OPEN)
    mark = os.urandom(8).hex()                   # names no program can have foreseen
    fresh = (f'{mark}_{number}' for number in itertools.count())
    try:
        while names := os.listdir(top):
            for name in names:
                if _is_directory(name, top):
                    _remove_directory(name, top, fresh)
                else:
                    os.unlink(name, dir_fd=top)
    finally:
        os.close(top)


def holds_more(path: str, files: int, size: int) -> bool:
    """Whether there are more than `files` entries or `size` bytes below `path`, which a program may be changing.

    Stops counting there. What nobody makes to keep a file counts as more: a directory that can be written and not be
    listed, one that no path is short enough for, one deeper than _DEEPEST. Links are not followed.
    """
    waiting = [(path, 0)]
    while waiting:
        folder, depth = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    files -= 1
                    size -= status.st_blocks * 512
                    if files < 0 or size < 0 or depth > _DEEPEST:
                        return True
                    if stat.S_ISDIR(status.st_mode):
                        if status.st_mode & 0o700 == 0o300:
                            return True
                        waiting.append((entry.path, depth + 1))
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return True
            # else it is gone, or may not be entered
    return False


def _remove_directory(name: str, top: int, fresh: Iterator[str]) -> None:
    """Removes the directory `name` in `top` with its files; its directories get a fresh name in `top`."""
    os.chmod(name, 0o700, dir_fd=top)
    here = os.open(name, _OPEN, dir_fd=top)
    try:
        for inner in os.listdir(here):
            if _is_directory(inner, here):
                os.chmod(inner, 0o700, dir_fd=here)      # a directory that is moved is written to
                os.rename(inner, next(fresh), src_dir_fd=here, dst_dir_fd=top)
            else:
                os.unlink(inner, dir_fd=here)
    finally:
        os.close(here)
    os.rmdir(name, dir_fd=top)


def _is_directory(name: str, folder: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
