"""What a language of programs is, and which there are: one module of this room each, named like the language, with its LANGUAGE.

    find('svg')    the language of recoder_jax/languages/svg.py
    names()        what modules there are

A language says how it is asked for, how it is fenced in a response, what a program without a fence looks like, and how a program becomes a
picture. Nobody outside this room asks which language it is. Nothing of the package outside this room is imported here.
"""

import importlib
import importlib.util
import os
import pkgutil
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from recoder_jax import languages


class Unrendered(Exception):
    """A program that gives no picture. end: how, as `charts.execution.Status` names it: error, forbidden, output or no_figure. The message is the log
    that its feedback shows."""

    def __init__(self, end: str, sentence: str):
        super().__init__(sentence)
        self.end = end


@dataclass(frozen=True)
class Guest:
    """A program of the machine that a renderer starts, once for each document, inside the walls of the document's process.

    draft: (document, path of the guest, most pixels) -> what `Renderer.render` makes the picture of; raises Unrendered. It may start processes and
    connect them by pairs of sockets, which `render` no longer may. trial: a document that a fork server renders before it takes any; without a
    picture of it the sandbox does not start. names: of the guest on PATH, the first that is found; a name with a slash is
    looked for there. debian: the package that brings it. reads: what it reads beside the system paths of the sandbox; missing ones are left out.
    layers: of isolation (charts/tiers.py) without which it is not started. reserves: it reserves more address space and larger files than it
    uses, so that what each of its processes may write bounds its memory, and the scratch directory its files.
    """

    draft: Callable[[str, str, int], bytes]
    trial: str
    names: tuple[str, ...]
    debian: str
    reads: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    reserves: bool = False

    def path(self) -> str | None:
        """Of the file that is started, links followed; None where there is none. A script that starts another program is not taken."""
        for name in self.names:
            found = shutil.which(name)
            if found:
                with open(found, 'rb') as file:
                    if file.read(2) != b'#!':
                        return os.path.realpath(found)
        return None


@dataclass(frozen=True)
class Renderer:
    """How a program that is no Python becomes a picture, in a confined process of the sandbox.

    warm: called once, before the process is confined; imports and reads what `render` needs. render: (program, most pixels) -> uint8 [H, W, 3];
    raises Unrendered. With a guest it is given the draft in place of the program. It must run nothing that the program brings: its pixels are taken
    as they are. package: what it imports; extra: `pip install recoder_jax[extra]` brings it, '' where this package needs it anyway.
    """

    warm: Callable[[], None]
    render: Callable[[str | bytes, int], np.ndarray]
    package: str
    extra: str = ''
    guest: Guest | None = None


@dataclass(frozen=True)
class Language:
    """A language of programs.

    fences: names of its fenced blocks in lower case; responses are written with the first. inline: of these, names that may stand on one line
    with other text. unfenced: finds a program that stands in no block. draw: asks for the first program, after the target image. missing: what
    the feedback says of a response without a program. suffix: of program files. renderer: None for programs that the sandbox executes and
    replays as matplotlib's. elements: whether an execution says what the picture shows, which rule scores and the textual reward compare; they
    come from the replay, so only a language without a renderer has them.
    """

    name: str
    fences: tuple[str, ...]
    inline: tuple[str, ...]
    unfenced: re.Pattern
    draw: str
    missing: str
    suffix: str
    renderer: Renderer | None = None

    @property
    def elements(self) -> bool:
        return self.renderer is None

    def check_installed(self) -> None:
        """Raises ValueError with the remedy where the package or the guest of the renderer is missing."""
        if self.renderer and self.renderer.guest and self.renderer.guest.path() is None:
            guest = self.renderer.guest
            raise ValueError(f'programs in {self.name} are rendered by {guest.names[0]}, which is not on PATH; run `apt-get install {guest.debian}`')
        if self.renderer and importlib.util.find_spec(self.renderer.package) is None:
            raise ValueError(f'programs in {self.name} are rendered by {self.renderer.package}, which is not installed; '
                             f'run `pip install -e .[{self.renderer.extra}]`')


def names() -> list[str]:
    """Names of all languages, in alphabetical order."""
    return sorted(module.name for module in pkgutil.iter_modules(languages.__path__) if module.name != 'language')


def find(name: str) -> Language:
    """The language of a name. Raises ValueError for an unknown one."""
    if name not in names():
        raise ValueError(f'the language {name!r} is unknown; choose one of {", ".join(names())}')
    return importlib.import_module(f'recoder_jax.languages.{name}').LANGUAGE
