r"""LaTeX documents in the sandbox: the same pixels each time, nothing from outside, and a typed end within the deadline whatever TeX is told."""

import re
import shutil
import signal
import time

import numpy as np
import pytest

from recoder_jax.charts.sandbox import Limits, Sandbox
from recoder_jax.dialogue.response import parse_response
from recoder_jax.languages import latex
from recoder_jax.languages.language import Unrendered, find

LANGUAGE = find("latex")
GUEST = LANGUAGE.renderer.guest
SECONDS = 3


@pytest.fixture(scope="module")
def sandbox():
    try:
        pool = Sandbox(workers=2, limits=Limits(seconds=SECONDS, file_mb=2), language="latex")
    except ValueError as refused:
        if not re.search("is not started without|is not on PATH|is not installed", str(refused)):
            raise
        pytest.skip(str(refused))
    with pool:
        yield pool


def document(inner: str, head: str = "") -> str:
    return f"\\documentclass{{article}}\\usepackage{{tikz}}{head}\\begin{{document}}\n{inner}\n\\end{{document}}\n"


SQUARE = r"\begin{tikzpicture}\fill[red] (0,0) rectangle (1,2);\end{tikzpicture}"


def test_a_missing_tex_is_one_sentence(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="programs in latex are rendered by pdflatex, which is not on PATH; run `apt-get install texlive-latex-base texlive-pictures`"):
        Sandbox(language="latex")


def test_tex_is_started_without_a_shell_without_questions_and_within_its_directory():
    line, environment = latex.command("/usr/bin/pdftex"), latex.environment()
    assert {"-no-shell-escape", "-halt-on-error", "-interaction=nonstopmode", "-no-mktex=pk"} <= set(line) and "-shell-escape" not in line
    assert (environment["openin_any"], environment["openout_any"], environment["shell_escape"]) == ("p", "p", "f") and "landlock" in GUEST.layers


@pytest.mark.parametrize("code, log, said, end, words", [
    (1, "", "pdftex: Not reading from /etc/passwd (openin_any = p).\n", "forbidden", "Not reading from /etc/passwd"),
    (0, "", "pdftex: Not writing to ../a.txt (openout_any = p).\n", "forbidden", "Not writing to ../a.txt"),
    (0, "runsystem(rm -r /)...disabled.\n", "", "forbidden", "rm -r /"),
    (-signal.SIGXFSZ, "", "", "output", "writes more"),
    (1, "This is pdfTeX\n./program.tex:7: Undefined control sequence.\nl.7 \\foo\n\nHere is how much of TeX's memory you used:\n 9 strings", "", "error",
     "./program.tex:7: Undefined control sequence.\nl.7 \\foo"),
    (1, "", "", "error", "ended with code 1"),
    (0, "No pages of output.\n", "", "no_figure", "no page"),
])
def test_what_tex_says_is_a_typed_end(code, log, said, end, words):
    found = latex.end_of(code, log, said)
    assert found.end == end and words in str(found) and "how much" not in str(found)


def test_a_run_that_went_well_has_no_end():
    assert latex.end_of(0, "Output written on program.pdf (1 page).", "") is None


@pytest.mark.parametrize("text, program", [
    ("```latex\n\\x\n```", "\\x"), ("```python\nx = 1\n```\n```tikz\n\\y\n```", "\\y"), ("So:\n" + document("a") + "that is all", document("a").strip()),
    ("```html\n<p>a</p>\n```", None)])
def test_the_document_is_found_among_fences_of_other_languages(text, program):
    assert parse_response(text, LANGUAGE).program == program


def test_a_picture_is_drawn_at_its_size_the_same_each_time_and_in_a_lower_tier(sandbox):
    first, second = sandbox.execute(document(SQUARE)), sandbox.execute(document(SQUARE))
    height, width, _ = first.render.shape
    assert first.ok and first.elements is None and np.array_equal(first.render, second.render)
    assert abs(height - 2 * 100 / 2.54 - 20) <= 2 and abs(width - 100 / 2.54 - 20) <= 2         # centimetres at 100 dots an inch, and the margins
    assert first.render[height // 2, width // 2].tolist() == [255, 0, 0] and (first.render[:9] == 255).all()
    assert np.array_equal(sandbox.execute(SQUARE).render, first.render)                       # put into a document
    with Sandbox(workers=1, language="latex", tier="user_namespaces") as lower:
        assert np.array_equal(lower.execute(document(SQUARE)).render, first.render)


@pytest.mark.parametrize("inner, status, words", [
    (r"\immediate\write18{id > out} a", "forbidden", "runs a command: id"),
    (r"\input{/etc/passwd}", "forbidden", "/etc/passwd"),
    (r"\input{../secret}", "forbidden", "../secret"),
    (r"\newread\f\openin\f=/etc/passwd \ifeof\f none\else\read\f to\x \x\fi", "forbidden", "/etc/passwd"),
    (r"\newwrite\f\immediate\openout\f=../a.txt a", "forbidden", "../a.txt"),
    (r"\pdffiledump offset 0 length 60 {/etc/passwd} a", "forbidden", "/etc/passwd"),
    (r"\input{|id}", "error", "`|id.tex' not found"),
    (r"\read-1 to \x \x", "error", "program.tex:2: Emergency stop"),
    (r"\foo", "error", "program.tex:2: Undefined control sequence.\nl.2 \\foo"),
    (r"\def\x{\x\x}\x", "error", "capacity exceeded"),
    (r"\loop\iftrue\repeat", "timeout", ""),
    (r"\newwrite\f\immediate\openout\f=a.txt \def\y{" + "a" * 5000 + r"}\loop\immediate\write\f{\y\y\y\y}\iftrue\repeat", "output", "writes more"),
    (r"\pdfpagewidth=90in\pdfpageheight=90in a", "output", "9000 x 9000 pixels"),
    ("", "no_figure", "no page"),
    (r"\mbox{}", "no_figure", "empty"),
])
def test_bad_documents_have_typed_ends(sandbox, inner, status, words):
    start = time.monotonic()
    execution = sandbox.execute(document(inner))
    assert execution.status.value == status and words in execution.log and execution.render is None and time.monotonic() - start < SECONDS + 2


def test_a_file_that_is_put_into_the_result_is_not_one_of_the_machine(sandbox, tmp_path):
    (tmp_path / "secret").write_text("secret")
    tmp_path.chmod(0o755)
    execution = sandbox.execute(document(rf"\immediate\pdfobj stream file {{{tmp_path}/secret}} a"))
    assert execution.status.value in ("error", "forbidden") and execution.render is None


@pytest.mark.parametrize("pdf", [b"", b"%PDF-1.5\n", b"no pdf" * 1000])
def test_a_damaged_result_is_an_error(pdf):
    pytest.importorskip("pypdfium2", reason="PDF is drawn by pypdfium2; pip install -e .[latex]")
    with pytest.raises(Unrendered, match="no PDF that can be read") as found:
        latex.render(pdf, 1000)
    assert found.value.end == "error"
