r"""LaTeX documents, TikZ among them: typeset by pdfTeX, started once for each document, and drawn by PDFium (pypdfium2, extra `latex`).

pdfTeX runs without shell escape, reads and writes below its directory and in TeX's own alone (openin_any = p, openout_any = p), makes no fonts and
asks nobody; behind that stand the walls of the process: no further program that could be started, no file outside, no network. PDFium reads the
result when pdfTeX has ended, in a process that can start nothing.

    an error of TeX, which is the log                        error, the document's line first
    \read from the terminal                                  error
    runs a command, or names a file outside                  forbidden
    writes more than its scratch directory holds             output
    its page has more pixels than allowed                    output
    no page, or an empty one                                 no_figure
    does not end                                             timeout, at the deadline of programs

The picture is the first page at 100 dots an inch, cut to its ink with MARGIN pixels around it; pages have no numbers unless the document asks for
them. A document without \documentclass is put into an article that loads TikZ. A document that takes over pdfTeX can forge its own picture, and
still stands behind the walls.
"""

import os
import re
import signal
import subprocess
from pathlib import Path

import numpy as np

from recoder_jax.languages.language import Guest, Language, Renderer, Unrendered

DPI = 100
MARGIN = 10
_LOG_BYTES = 1 << 18
_PATHS = ('/etc/texmf', '/var/lib/texmf', '/var/lib/texlive', '/usr/share/texmf', '/usr/share/texlive', '/usr/local/texlive', '/opt/texlive')
_FLAGS = ('-fmt=pdflatex', '-progname=pdflatex', '-interaction=nonstopmode', '-halt-on-error', '-file-line-error', '-no-shell-escape', '-no-mktex=tex',
          '-no-mktex=tfm', '-no-mktex=pk', '-jobname=program')
_START = r'\AtBeginDocument{\pagestyle{empty}}\input{program.tex}'
_HEAD = r'\documentclass{article}\usepackage{tikz}\begin{document}'
_ERROR = re.compile(r'^(?:(?:\./)?program\.tex:\d+: |! ).*(?:\n(?!Here is how much).*){0,5}', re.MULTILINE)
_OUTSIDE = re.compile(r'Not (?:reading from|writing to) .*')
_COMMAND = re.compile(r'runsystem\((.{0,80})', re.DOTALL)


def command(path: str) -> list[str]:
    """What is run: the path of pdfTeX, in a directory that holds program.tex."""
    return [path, *_FLAGS, _START]


def environment() -> dict[str, str]:
    """Of pdfTeX: where it may read and write, and a clock that stands still."""
    here = os.getcwd()
    return {'HOME': here, 'TMPDIR': here, 'TEXMFHOME': here, 'TEXMFVAR': here, 'TEXMFCONFIG': here, 'PATH': '/usr/bin:/bin', 'LANG': 'C.UTF-8', 'TZ': 'UTC',
            'openin_any': 'p', 'openout_any': 'p', 'shell_escape': 'f', 'SOURCE_DATE_EPOCH': '1700000000', 'FORCE_SOURCE_DATE': '1',
            'max_print_line': '1000'}


def whole(document: str) -> str:
    r"""The document, in an article where it has no \documentclass; its lines keep their numbers."""
    return document if r'\documentclass' in document else f'{_HEAD}{document}\n\\end{{document}}\n'


def draft(document: str, path: str, most_pixels: int) -> bytes:
    """The document as PDF. Raises Unrendered, MemoryError, and OSError where pdfTeX cannot be started."""
    Path('program.tex').write_text(whole(document))
    with open('said', 'wb') as said:
        code = subprocess.run(command(path), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, env=environment(), check=False).returncode
    log = _end_of('program.log')
    end = end_of(code, log, _end_of('said'))
    if end is not None:
        raise end
    return Path('program.pdf').read_bytes()


def end_of(code: int, log: str, said: str) -> Unrendered | None:
    """How a run of pdfTeX ended that gave no picture, by its exit code, its log and what it said of files; None where it went well."""
    if outside := _OUTSIDE.search(said):
        return Unrendered('forbidden', f'{outside[0]}; nothing outside of the document can be read or written')
    if run := _COMMAND.search(log):
        return Unrendered('forbidden', f'the document runs a command: {run[1].splitlines()[0]}')
    if code == 0:
        return Unrendered('no_figure', 'the document has no page') if 'No pages of output' in log else None
    if code == -signal.SIGXFSZ or 'No space left' in said or 'fwrite() failed' in log + said:
        return Unrendered('output', 'the document writes more than its directory holds')
    error = _ERROR.search(log)
    return Unrendered('error', error[0].rstrip() if error else f'pdflatex ended with code {code}')


def _end_of(name: str) -> str:
    """The end of a file; '' where there is none."""
    try:
        with open(name, 'rb') as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LOG_BYTES))
            return file.read().decode('utf-8', errors='replace')
    except FileNotFoundError:
        return ''


def render(pdf: bytes, most_pixels: int) -> np.ndarray:
    """The first page of a draft cut to its ink, uint8 [H, W, 3]. Raises Unrendered for a page larger than `most_pixels`, or without ink."""
    import pypdfium2

    try:
        page = pypdfium2.PdfDocument(pdf)[0]
    except (pypdfium2.PdfiumError, IndexError) as error:
        raise Unrendered('error', f'the document gave no PDF that can be read: {error}') from None
    width, height = (round(DPI / 72 * points) for points in page.get_size())
    if width * height > most_pixels:
        raise Unrendered('output', f'the page has {width} x {height} pixels, more than {most_pixels}')
    pixels = page.render(scale=DPI / 72, draw_annots=False, rev_byteorder=True, prefer_bgrx=False).to_numpy()[..., :3]
    ink = (pixels < 255).any(axis=2)
    if not ink.any():
        raise Unrendered('no_figure', 'the first page is empty')
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    cut = np.full((rows[-1] - rows[0] + 1 + 2 * MARGIN, columns[-1] - columns[0] + 1 + 2 * MARGIN, 3), 255, np.uint8)
    cut[MARGIN:-MARGIN, MARGIN:-MARGIN] = pixels[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
    if cut.shape[0] * cut.shape[1] > most_pixels:
        raise Unrendered('output', f'the picture has {cut.shape[1]} x {cut.shape[0]} pixels, more than {most_pixels}')
    return cut


def warm() -> None:
    """Loads PDFium."""
    import pypdfium2  # noqa: F401


LANGUAGE = Language(
    name='latex',
    fences=('latex', 'tex', 'tikz'),
    inline=('latex', 'tex', 'tikz'),
    unfenced=re.compile(r'\\documentclass\b(?:[\s\S]*\\end\{document\}|[\s\S]*)'),
    draw='Think in <think></think>. Then write one latex block that draws this chart with TikZ.',
    missing='no latex block found in the response',
    suffix='.tex',
    renderer=Renderer(warm, render, package='pypdfium2', extra='latex', guest=Guest(
        draft, r'\fbox{a}', ('pdflatex',), debian='texlive-latex-base texlive-pictures', reads=_PATHS, layers=('landlock', 'thread_limit'))),
)
