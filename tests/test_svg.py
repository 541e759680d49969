"""SVG documents in the sandbox: the same pixels each time, nothing from outside, and a typed end within the deadline whatever is in them."""

import base64
import io
import time

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("resvg_py", reason="SVG is rendered by resvg_py; pip install -e .[svg]")

from recoder_jax.charts.sandbox import Limits, Sandbox
from recoder_jax.languages.language import Unrendered
from recoder_jax.languages.svg import check, size_of

NAMES = "xmlns='http://www.w3.org/2000/svg' xmlns:x='http://www.w3.org/1999/xlink'"
SECONDS = 2


def svg(inner: str, size: str = "width='50' height='40'") -> str:
    return f"<svg {NAMES} {size}>{inner}</svg>"


def png(width: int, height: int, mode: str = "RGB") -> str:
    buffer = io.BytesIO()
    Image.new(mode, (width, height)).save(buffer, "png")
    return base64.b64encode(buffer.getvalue()).decode()


BLACK = "<rect width='50' height='40'/>"
BOMB = "<g id='a0'><rect width='9' height='9'/></g>" + "".join(f"<g id='a{i}'>" + f"<use href='#a{i - 1}'/>" * 10 + "</g>" for i in range(1, 9))


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(workers=2, limits=Limits(seconds=SECONDS, memory_mb=1024, program_bytes=5_000_000), language="svg") as pool:
        yield pool


def test_a_document_is_drawn_at_its_size_on_white_with_its_texts(sandbox):
    document = svg("<rect x='10' width='10' height='40' fill='red'/><text x='25' y='20' font-family='Nonesuch'>Wm</text>")
    first, second = sandbox.execute(document), sandbox.execute(document)
    assert first.ok and first.elements is None and first.log == "" and first.render.shape == (40, 50, 3)
    assert np.array_equal(first.render, second.render)
    assert first.render[5, 5].tolist() == [255, 255, 255] and first.render[5, 15].tolist() == [255, 0, 0]
    assert (first.render[8:22, 24:] < 128).any()


@pytest.mark.parametrize("inner", ["<script>while (1);</script>", "<animate attributeName='x' dur='1s'/>", "<foreignObject><p>a</p></foreignObject>",
                                   "<style>@import url(http://127.0.0.1:1/a.css); rect { cursor: url(file:///etc/passwd) }</style>",
                                   "<a href='http://127.0.0.1:1/'><circle r='1'/></a>"])
def test_what_a_browser_would_run_or_fetch_is_inert(sandbox, inner):
    execution = sandbox.execute(svg(BLACK + inner))
    assert execution.ok and (execution.render == 0).all() and execution.seconds < SECONDS


def test_a_picture_held_in_the_document_is_drawn(sandbox):
    execution = sandbox.execute(svg(f"<image width='50' height='40' preserveAspectRatio='none' href='data:image/png;base64,{png(2, 2)}'/>"))
    assert execution.ok and (execution.render < 128).all()


@pytest.mark.parametrize(
    "document, status, words",
    [
        ("a chart", "error", "syntax error"),
        ("", "error", "no element found"),
        ("<html/>", "error", "'html', not svg"),
        (svg("<rect>"), "error", "mismatched tag"),
        (svg("<q:rect/>"), "error", "unbound prefix"),
        (svg("\0"), "error", "not well-formed"),
        (svg("", ""), "no_figure", "no size"),
        (svg("", "width='0' height='5'"), "no_figure", "no size"),
        ("<!DOCTYPE svg [<!ENTITY a 'x'>]>" + svg("<text>&a;</text>"), "forbidden", "entity"),
        ("<!DOCTYPE svg [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>" + svg("<text>&a;</text>"), "forbidden", "entity"),
        ("<!DOCTYPE svg [<!ENTITY % a SYSTEM 'http://127.0.0.1:1/'> %a;]>" + svg(""), "forbidden", "entity"),
        ("<!DOCTYPE svg [" + "".join(f"<!ENTITY a{i} '" + f"&a{i - 1};" * 10 + "'>" for i in range(1, 9)) + "]>" + svg("&a8;"), "forbidden", "entity"),
        (svg("<g/>" * 1_000_000), "output", "more than 100000 elements"),
        (svg(BOMB), "output", "draws more than 100000 elements"),
        (svg("".join(f"<use id='a{i}' href='#a{i - 1}'/>" for i in range(450, 0, -1)) + "<rect id='a0'/>"), "output", "deeper"),
        (svg("<g id='a'><use href='#b'/></g><g id='b'><use href='#a'/></g>"), "error", "limit reached"),
        (svg("<g>" * 3000 + "</g>" * 3000), "output", "nested deeper"),
        (svg("", "width='1e9' height='1e9'"), "output", "pixels"),
        (svg("", "width='100%' viewBox='0 0 90000 90000'"), "output", "pixels"),
        (svg("<pattern id='p' width='1e6' height='1e6' patternUnits='userSpaceOnUse'><rect width='1' height='1'/></pattern><rect width='9' height='9' fill='url(#p)'/>"),
         "memory", "memory"),
    ],
)
def test_bad_documents_have_typed_ends(sandbox, document, status, words):
    execution = sandbox.execute(document)
    assert execution.status.value == status and words in execution.log and execution.render is None


@pytest.mark.parametrize("address", ["/etc/passwd", "file:///etc/passwd", "black.png", "http://127.0.0.1:1/a.png", "../black.png", " //host/a.png",
                                     "data:image/svg+xml;base64,PHN2Zy8+", "data:text/html,a", ""])
@pytest.mark.parametrize("name", ["image", "feImage", "use", "x:image", "pattern", "font-face-uri"])
def test_nothing_outside_of_the_document_is_referred_to(name, address):
    for key in ("href", "x:href"):
        with pytest.raises(Unrendered, match="nothing outside of the document") as found:
            check(svg(f"<{name} {key}='{address}'/>"), 10_000)
        assert found.value.end == "forbidden"


@pytest.mark.parametrize("inner", ["<text>" + "W" * 500_000 + "</text>", f"<image href='data:image/png;base64,{png(20_000, 20_000, '1')}'/>",
                                   "<filter id='f'>" + "<feGaussianBlur stdDeviation='500'/>" * 300 + "</filter><rect width='2000' height='2000' filter='url(#f)'/>"],
                         ids=["text", "picture", "filters"])
def test_what_takes_long_or_much_ends_at_the_limits(sandbox, inner):
    start = time.monotonic()
    execution = sandbox.execute(svg(inner, "width='2000' height='2000'"))
    assert execution.status.value in ("timeout", "memory", "output") and time.monotonic() - start < 4 * SECONDS
    assert sandbox.execute(svg(BLACK)).ok


def test_sizes_are_those_of_the_renderer(sandbox):
    for size in ("width='1in' height='1cm'", "viewBox='0 0 30 20'", "width='15' viewBox='0 0 30 20'", "width='50%' height='10' viewBox='0 0 30 20'",
                 "width='10.4px' height='7.6px'", "height='3em' width='4pc'"):
        document = svg("", size)
        said = size_of(dict(part.strip("'").split("='") for part in size.replace("' ", "'\n").split("\n")))
        height, width, _ = sandbox.execute(document).render.shape
        assert abs(said[0] - width) <= 1 and abs(said[1] - height) <= 1, size


def test_a_lower_tier_draws_the_same_and_the_lowest_what_needs_no_font(sandbox):
    document = svg("<text x='5' y='20'>Wm</text>")
    with Sandbox(workers=1, language="svg", tier="container") as lower:
        if lower.tier != "container":
            pytest.skip(f"this machine has no tier container but {lower.tier}")
        assert np.array_equal(lower.execute(document).render, sandbox.execute(document).render)
    with Sandbox(workers=1, language="svg", tier="no_landlock", isolation="forced") as lowest:
        assert lowest.execute(document).status.value == "forbidden"
        square = svg("<rect width='20' height='20' fill='red'/>")
        assert np.array_equal(lowest.execute(square).render, sandbox.execute(square).render)
