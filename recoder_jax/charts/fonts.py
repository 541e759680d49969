"""Fonts in memory: read once by a fork server, shared by every process it forks.

matplotlib opens fonts as files and drops the opened ones after a fork, because two processes would move one file
offset and read each other's glyphs. A font whose bytes lie in memory has an offset of its own in each process: it can
stay open across a fork, takes no system calls, and is there for programs that may open no file.

The one place that touches private names of matplotlib's font manager (`_get_font`, and the modules `ft2font` and `os`
as it and `_mathtext` call them; the same in 3.8 to 3.11). Where a name is missing, fonts stay files.
"""

import functools
import io
import os
import types
from collections.abc import Callable

_MAX_BYTES = 24_000_000      # of fonts read ahead; those over it are read when a program asks for them


class _FontFile(io.BytesIO):
    """The bytes of a font file. matplotlib has it, in the place of a path, as `fname` of the font.

    The backends for PDF and PostScript look that name up among paths, and 3.8 and 3.9 take what is not a string for
    the keywords of FontProperties. There, PostScript with `ps.fonttype` 42 fails.
    """

    def __init__(self, path: str, content: bytes):
        super().__init__(content)
        self.path = path

    def __str__(self) -> str:
        return self.path

    def __hash__(self) -> int:
        return hash(self.path)

    def __eq__(self, other: object) -> bool:
        return str(other) == self.path if isinstance(other, str | _FontFile) else NotImplemented

    def keys(self) -> tuple[str, ...]:
        return ('fname',)

    def __getitem__(self, key: str) -> str:
        return self.path


class _FontFileOfOld(_FontFile):
    """For matplotlib before 3.11, which reads an object before it asks for its path; 3.11 would open the path."""

    def __fspath__(self) -> str:
        return self.path


def folders() -> list[str]:
    """The folders of the fonts matplotlib knows."""
    from matplotlib import font_manager
    return sorted({os.path.dirname(font.fname) for font in font_manager.fontManager.ttflist})


def keep_in_memory() -> bool:
    """Makes `font_manager.get_font` open fonts from memory, and reads those it knows; False where it cannot.

    Call once per process, before the first text is drawn.
    """
    import matplotlib
    from matplotlib import _mathtext, font_manager
    original = getattr(getattr(font_manager, '_get_font', None), '__wrapped__', None)
    library = getattr(font_manager, 'ft2font', None)
    if original is None or library is None:
        return False
    contents = _read_ahead(font_manager.fontManager.ttflist)
    kind = _FontFile if matplotlib.__version_info__ >= (3, 11) else _FontFileOfOld

    def open_font(file, *args, **kwargs):
        if isinstance(file, str | bytes | os.PathLike) and not isinstance(file, _FontFile):
            path = str(os.fsdecode(file))
            if path not in contents:
                with open(path, 'rb') as opened:
                    contents[path] = opened.read()
            file = kind(path, contents[path])
        return library.FT2Font(file, *args, **kwargs)

    get_font = font_manager.get_font

    @functools.wraps(get_font)
    def get_font_of_file(file, *args, **kwargs):
        return get_font(file.path if isinstance(file, _FontFile) else file, *args, **kwargs)

    # Backends that are imported from here on, those for PDF and PostScript among them, take it from there.
    font_manager.get_font = get_font_of_file
    # Both ask whether a font is a file before they open it, which is denied where programs may open none.
    font_manager.os = _mathtext.os = _system_with(contents)
    # The functions of the font manager look up `ft2font` there at each call; nothing else does.
    font_manager.ft2font = types.SimpleNamespace(**vars(library) | {'FT2Font': open_font})
    font_manager._get_font = functools.lru_cache(64)(original)
    return True


def _system_with(files: dict[str, bytes]) -> types.SimpleNamespace:
    """The module `os`, to whose `path` the given files exist."""
    known = {name: functools.partial(_is_there, files, getattr(os.path, name)) for name in ('exists', 'isfile')}
    return types.SimpleNamespace(**vars(os) | {'path': types.SimpleNamespace(**vars(os.path) | known)})


def _is_there(files: dict[str, bytes], otherwise: Callable[[object], bool], path: object) -> bool:
    return (isinstance(path, str) and str(path) in files) or otherwise(path)      # FontPath hashes as a pair


def _read_ahead(fonts: list) -> dict[str, bytes]:
    """Path -> content, those of matplotlib first."""
    import matplotlib
    own = matplotlib.get_data_path()
    contents, size = {}, 0
    for path in sorted({os.path.realpath(font.fname) for font in fonts}, key=lambda path: (own not in path, path)):
        try:
            with open(path, 'rb') as file:
                content = file.read(_MAX_BYTES - size + 1)
        except OSError:
            continue                   # the list of fonts may be older than the folders
        if size + len(content) <= _MAX_BYTES:
            contents[path] = content
            size += len(content)
    # Links are not resolved where the file system cannot be asked.
    real = {font.fname: os.path.realpath(font.fname) for font in fonts}
    return contents | {name: contents[path] for name, path in real.items() if path in contents}
