"""SVG documents, rendered by resvg: a static renderer in Rust that runs no script and fetches nothing (resvg-py, extra `svg`).

The process is confined as every program's is. Before resvg sees a document, it is read once by expat and refused where it

    declares an entity                                                              forbidden
    refers to anything but itself or a picture held in it (href of all but links)   forbidden
    draws more than MAX_ELEMENTS elements, `use` counted as what it repeats         output
    nests deeper than MAX_DEPTH                                                     output
    has more pixels than allowed                                                    output
    says no size, by width and height or by viewBox                                 no_figure
    is no XML, or another document                                                  error

Its size is its own at 96 dots an inch, on white. Fonts are those of matplotlib, whatever the machine has. What takes long ends at the deadline of
programs (timeout); what takes memory ends the process (memory). What expat and resvg read differently is left to the walls of the process.
"""

import importlib.util
import io
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

import numpy as np

from recoder_jax.languages.language import Language, Renderer, Unrendered

MAX_ELEMENTS = 100_000
MAX_DEPTH = 200
DPI = 96.0
FONTS = ('DejaVuSans', 'DejaVuSans-Bold', 'DejaVuSans-Oblique', 'DejaVuSans-BoldOblique', 'DejaVuSerif', 'DejaVuSansMono')
_NAMESPACE = 'http://www.w3.org/2000/svg'
_LENGTH = re.compile(r'\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(px|pt|pc|in|cm|mm|em|ex|%)?\s*')
_PIXELS = {None: 1, 'px': 1, 'pt': DPI / 72, 'pc': DPI / 6, 'in': DPI, 'cm': DPI / 2.54, 'mm': DPI / 25.4, 'em': 16, 'ex': 8}
_HELD = re.compile(r'\s*(#|data:image/(png|jpe?g|gif|webp)[;,])', re.IGNORECASE)


@dataclass(eq=False)
class _Document:
    """What expat saw: the attributes of the root, the children of each element, the element of each id, what each `use` repeats, and
    whether there is a text."""

    root: dict[str, str] | None = None
    children: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    ids: dict[str, int] = field(default_factory=dict)
    uses: dict[int, str] = field(default_factory=dict)
    open: list[int] = field(default_factory=list)
    count: int = 0
    texts: bool = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.removeprefix(_NAMESPACE + ' ')
        if self.root is None:
            if name != 'svg':
                raise Unrendered('error', f'the root element is {name[:40]!r}, not svg')
            self.root = attributes
        number, self.count = self.count, self.count + 1
        self.texts |= name.rpartition(' ')[2] == 'text'
        if self.count > MAX_ELEMENTS:
            raise Unrendered('output', f'the document has more than {MAX_ELEMENTS} elements')
        if len(self.open) >= MAX_DEPTH:
            raise Unrendered('output', f'elements are nested deeper than {MAX_DEPTH}')
        if self.open:
            self.children[self.open[-1]].append(number)
        self.open.append(number)
        if 'id' in attributes:
            self.ids.setdefault(attributes['id'], number)
        for key, value in attributes.items():
            if key.rpartition(' ')[2] != 'href' or name == 'a':
                continue
            if not _HELD.match(value):
                raise Unrendered('forbidden', f'{name} refers to {value[:60]!r}; nothing outside of the document can be read')
            if name == 'use':
                self.uses[number] = value.strip()[1:]

    def end(self, name: str) -> None:
        self.open.pop()

    def drawn(self) -> int:
        """Elements when each `use` is what it repeats; one that repeats itself counts once."""
        sizes: dict[int, int] = {}

        def size(number: int, depth: int) -> int:
            if depth > 2 * MAX_DEPTH:
                raise Unrendered('output', f'elements that repeat others are nested deeper than {2 * MAX_DEPTH}')
            if number not in sizes:
                sizes[number] = 1
                repeated = self.ids.get(self.uses.get(number, ''))
                below = self.children.get(number, []) + ([] if repeated is None else [repeated])
                sizes[number] += sum(size(each, depth + 1) for each in below)
            return sizes[number]

        return size(0, 0)


def check(document: str, most_pixels: int) -> bool:
    """Whether the document has a text. Raises Unrendered for one that resvg is not given; the list above says which."""
    seen, parser = _Document(), expat.ParserCreate(namespace_separator=' ')
    parser.StartElementHandler, parser.EndElementHandler, parser.EntityDeclHandler = seen.start, seen.end, _refuse_entity
    try:
        parser.Parse(document, True)
    except expat.ExpatError as error:
        lines = document.split('\n')
        line = lines[error.lineno - 1].strip()[:80] if error.lineno <= len(lines) else ''
        raise Unrendered('error', f'line {error.lineno}: {line}\n{expat.ErrorString(error.code)}') from None
    if seen.drawn() > MAX_ELEMENTS:
        raise Unrendered('output', f'the document draws more than {MAX_ELEMENTS} elements')
    width, height = size_of(seen.root)
    if width * height > most_pixels:
        raise Unrendered('output', f'the document has {width:.0f} x {height:.0f} pixels, more than {most_pixels}; give a smaller width and height')
    return seen.texts


def _refuse_entity(*_) -> None:
    raise Unrendered('forbidden', 'the document declares an entity')


def size_of(root: dict[str, str]) -> tuple[float, float]:
    """(width, height) of a root element in pixels, as its attributes say. Raises Unrendered where they say none."""
    box = [float(number) for number in re.findall(r'[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?', root.get('viewBox', ''))]
    box = box[2:] if len(box) == 4 and min(box[2:]) > 0 else None
    width, height = (_pixels(root.get(name), box and box[index]) for index, name in enumerate(('width', 'height')))
    if box:
        width, height = width or (height * box[0] / box[1] if height else box[0]), height or (width * box[1] / box[0] if width else box[1])
    if not width or not height:
        raise Unrendered('no_figure', 'the svg element has no size; give it a width and a height, or a viewBox')
    return width, height


def _pixels(length: str | None, whole: float | None) -> float | None:
    found = _LENGTH.fullmatch(length or '')
    if found is None:
        return None
    number, unit = float(found[1]), found[2]
    return (number / 100 * whole if whole else None) if unit == '%' else number * _PIXELS[unit]


def warm() -> None:
    """Draws a text once, so that all of resvg is in memory."""
    render(f'<svg xmlns="{_NAMESPACE}" width="8" height="8"><text>a</text></svg>', 64)


def font_files() -> list[str]:
    """The fonts that texts are drawn with. Raises Unrendered where the process may not read them: a picture without its texts would be another one."""
    folder = Path(importlib.util.find_spec('matplotlib').origin).parent / 'mpl-data' / 'fonts' / 'ttf'
    files = [folder / f'{name}.ttf' for name in FONTS]
    try:
        for file in files:
            file.open('rb').close()
    except OSError:
        raise Unrendered('forbidden', 'the fonts cannot be read in this tier of isolation') from None
    return list(map(str, files))


def render(document: str, most_pixels: int) -> np.ndarray:
    """The picture of a document, uint8 [H, W, 3], at most `most_pixels` large. Raises Unrendered."""
    from PIL import Image
    from resvg_py import svg_to_bytes

    texts = check(document, most_pixels)
    try:
        png = svg_to_bytes(
            svg_string=document, background='white', dpi=DPI, skip_system_fonts=True, font_files=font_files() if texts else [], resources_dir='.',
            font_family='DejaVu Sans', sans_serif_family='DejaVu Sans', cursive_family='DejaVu Sans', fantasy_family='DejaVu Sans',
            serif_family='DejaVu Serif', monospace_family='DejaVu Sans Mono',
        )
    except ValueError as error:
        raise Unrendered('error', str(error)) from None
    with Image.open(io.BytesIO(bytes(png))) as image:
        if image.width * image.height > most_pixels:
            raise Unrendered('output', f'the document has {image.width} x {image.height} pixels, more than {most_pixels}')
        return np.ascontiguousarray(image.convert('RGB'))


LANGUAGE = Language(
    name='svg',
    fences=('svg', 'xml'),
    inline=('svg', 'xml'),
    unfenced=re.compile(r'(?:<\?xml[^>]*>\s*)?<svg\b(?:[\s\S]*</svg>|[\s\S]*)'),
    draw='Think in <think></think>. Then write one svg block that draws this chart as SVG.',
    missing='no svg block found in the response',
    suffix='.svg',
    renderer=Renderer(warm, render, package='resvg_py', extra='svg'),
)
