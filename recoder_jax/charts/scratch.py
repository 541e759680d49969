"""The scratch directory of a program."""

import os
import stat

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def empty_directory(path: str) -> None:
    """Makes `path` an empty directory of mode 0700, whatever a program left there.

    Links are removed, never followed. Walks down and up by descriptors, with one open at a time, so that neither a
    path nor a Python stack grows with the depth of what was left. OSError when a directory moves meanwhile.
    """
    try:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.unlink(path)
            os.mkdir(path, 0o700)
    except FileNotFoundError:
        os.mkdir(path, 0o700)
    os.chmod(path, 0o700)
    here = os.open(path, _OPEN)
    pending = [_remove_files(here)]      # directories still to be removed, in `path` and in each one on the way down
    way = []                             # (identity of the parent, name in it) of each directory on the way down
    try:
        while True:
            if pending[-1]:
                name = pending[-1].pop()
                os.chmod(name, 0o700, dir_fd=here)
                way.append((_identity(here), name))
                here = _move(here, name)
                pending.append(_remove_files(here))
            elif way:
                pending.pop()
                parent, name = way.pop()
                here = _move(here, '..')
                if _identity(here) != parent:
                    raise OSError(f'a directory below {path} was moved while it was emptied')
                os.rmdir(name, dir_fd=here)
            else:
                return
    finally:
        os.close(here)


def holds_more(path: str, files: int, size: int) -> bool:
    """Whether there are more than `files` entries or `size` bytes below `path`, which a program may be changing.

    Stops counting there. A directory that can be written and not be listed counts as more: nobody makes one to keep a
    file. Links are not followed.
    """
    waiting = [path]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    files -= 1
                    size -= status.st_blocks * 512
                    if files < 0 or size < 0:
                        return True
                    if stat.S_ISDIR(status.st_mode):
                        if status.st_mode & 0o700 == 0o300:
                            return True
                        waiting.append(entry.path)
        except OSError:
            continue                   # it is gone, or no way leads into it
    return False


def _remove_files(here: int) -> list[str]:
    """Removes what is no directory; the names of the directories."""
    directories = []
    for name in os.listdir(here):
        if stat.S_ISDIR(os.stat(name, dir_fd=here, follow_symlinks=False).st_mode):
            directories.append(name)
        else:
            os.unlink(name, dir_fd=here)
    return directories


def _move(here: int, name: str) -> int:
    there = os.open(name, _OPEN, dir_fd=here)
    os.close(here)
    return there


def _identity(directory: int) -> tuple[int, int]:
    status = os.fstat(directory)
    return status.st_dev, status.st_ino
