"""HTML documents in the sandbox: the same pixels each time, nothing from outside, and a typed end within the deadline whatever a page does."""

import io
import re
import shutil
import time

import numpy as np
import pytest
from PIL import Image

from recoder_jax.charts.sandbox import Limits, Sandbox
from recoder_jax.charts.tiers import LAYERS, guest_refusal
from recoder_jax.dialogue.response import parse_response
from recoder_jax.languages import html
from recoder_jax.languages.language import Unrendered, find

LANGUAGE = find("html")
GUEST = LANGUAGE.renderer.guest
SECONDS = 3
BROWSER = pytest.mark.skipif(GUEST.path() is None, reason=f"no {GUEST.names[0]} on PATH (apt-get install {GUEST.debian})")


@pytest.fixture(scope="module")
def sandbox():
    try:
        pool = Sandbox(workers=2, limits=Limits(seconds=SECONDS), language="html")
    except ValueError as refused:
        if "is not started without" not in str(refused):
            raise
        pytest.skip(str(refused))
    with pool:
        yield pool


def page(inner: str) -> str:
    return f"<!DOCTYPE html><html><body style='margin:0'>{inner}</body></html>"


SQUARE = "<div style='width:50px;height:40px;background:red'></div>"


def test_a_missing_browser_is_one_sentence(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="programs in html are rendered by chromium-headless-shell, which is not on PATH; run `apt-get install chromium-headless-shell`"):
        Sandbox(language="html")


def test_a_script_that_starts_a_browser_is_not_taken_for_one(tmp_path, monkeypatch):
    for name, head in ((GUEST.names[0], "#!/bin/sh\n"), (GUEST.names[1], "\x7fELF")):
        (tmp_path / name).write_text(head)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert GUEST.path() == str(tmp_path / GUEST.names[1])


def test_a_browser_is_refused_where_a_wall_is_missing():
    everything = dict.fromkeys(LAYERS, True)
    assert guest_refusal("html", GUEST.layers, everything, "full") == ""
    for layer in ("private_root", "network_namespace", "pid_namespace", "landlock", "thread_limit"):
        assert layer in GUEST.layers and f"not started without {layer} (tier full)" in guest_refusal("html", GUEST.layers, everything | {layer: False}, "full")


@pytest.mark.parametrize("text, program", [
    ("```html\n<p>a</p>\n```", "<p>a</p>"), ("```python\nx = 1\n```\n```html\n<p>b</p>\n```", "<p>b</p>"), ("<!DOCTYPE html>\n<html><p>c</p></html> so", "<!DOCTYPE html>\n<html><p>c</p></html>"),
    ("```svg\n<svg/>\n```", None)])
def test_the_page_is_found_among_fences_of_other_languages(text, program):
    assert parse_response(text, LANGUAGE).program == program


@BROWSER
@pytest.mark.parametrize("tier", ["container", "no_landlock"])
def test_a_tier_that_cannot_hold_a_browser_refuses_by_name(tier):
    with pytest.raises(ValueError, match=r"rendered by another program, which is not started without private_root.* \(tier .*\)"):
        Sandbox(workers=1, language="html", tier=tier, isolation="forced")


@BROWSER
def test_a_page_is_drawn_whole_and_equal_each_time_whatever_its_clock_and_chance(sandbox):
    document = page(SQUARE + "<p id='p'></p><div style='height:900px'></div>"
                    "<script>onload = () => setTimeout(() => { p.textContent = Date.now() + ' ' + Math.random() }, 3000)</script>")
    first, second = sandbox.execute(document), sandbox.execute(document)
    assert first.ok and first.elements is None and first.render.shape[1] == html.WIDTH and first.render.shape[0] > 940
    assert np.array_equal(first.render, second.render) and first.seconds < SECONDS
    assert first.render[5, 5].tolist() == [255, 0, 0] and (first.render[40:100] < 128).any()


@BROWSER
def test_a_lower_tier_draws_the_same(sandbox):
    document = page("<h1>Sales</h1>" + SQUARE)
    with Sandbox(workers=1, language="html", tier="user_namespaces") as lower:
        assert np.array_equal(lower.execute(document).render, sandbox.execute(document).render)


@BROWSER
@pytest.mark.parametrize("inner, status, words", [
    ("<img src='file:///etc/passwd'>", "forbidden", "file:///etc/passwd"),
    ("<iframe src='file:///etc/passwd'></iframe>", "forbidden", "file:///etc/passwd"),
    ("<script>location = 'file:///etc/passwd'</script>", "forbidden", "file:///etc/passwd"),
    ("<script src='http://127.0.0.1:1/a.js'></script>", "forbidden", "http://127.0.0.1:1/a.js"),
    ("<meta http-equiv='refresh' content='0;url=http://127.0.0.1:1/'>", "forbidden", "http://127.0.0.1:1/"),
    ("<div style='height:300000px'></div>", "output", "pixels"),
    ("<script>while (1);</script>", "timeout", ""),
])
def test_bad_pages_have_typed_ends(sandbox, inner, status, words):
    start = time.monotonic()
    execution = sandbox.execute(page(SQUARE + inner))
    assert execution.status.value == status and words in execution.log and execution.render is None and time.monotonic() - start < SECONDS + 2


@BROWSER
def test_files_cannot_be_fetched_and_what_never_ends_is_drawn_as_it_stands(sandbox, tmp_path):
    (tmp_path / "secret").write_text("W" * 5000)
    tmp_path.chmod(0o755)
    tries = "".join(f"fetch('{place}').then(r => r.text()).then(t => document.body.append(t)).catch(e => 0);"
                    for place in (f"file://{tmp_path}/secret", "ws://127.0.0.1:1/", "file:///proc/self/environ"))
    plain, hostile = sandbox.execute(page(SQUARE)), sandbox.execute(page(
        SQUARE + f"<script>alert(1); confirm(2); setInterval(() => 0, 1); open('about:blank'); close(); {tries} new WebSocket('ws://127.0.0.1:1/')</script>"))
    assert hostile.ok and np.array_equal(plain.render, hostile.render)


@BROWSER
def test_memory_that_a_page_takes_ends_within_its_limit_and_the_next_page_is_drawn(sandbox):
    execution = sandbox.execute(page("<script>const a = []; while (1) a.push(new Uint8Array(1e7).fill(1))</script>"))
    assert execution.status.value in ("ok", "error", "memory", "timeout") and (execution.render is None or (execution.render == 255).all())
    assert sandbox.execute(page(SQUARE)).ok


def test_a_draft_over_the_limit_is_refused():
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20)).save(buffer, "png")
    assert html.render(buffer.getvalue(), 400).shape == (20, 20, 3)
    with pytest.raises(Unrendered, match=re.escape("20 x 20 pixels, more than 399")):
        html.render(buffer.getvalue(), 399)


def test_a_browser_that_does_not_render_here_is_one_sentence_at_the_start(tmp_path, monkeypatch):
    shutil.copy(shutil.which("true"), tmp_path / GUEST.names[0])
    tmp_path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match=r"cannot be rendered by \S+ on this machine: |is not started without") as refused:
        Sandbox(workers=1, language="html")
    assert "\n" not in str(refused.value)
