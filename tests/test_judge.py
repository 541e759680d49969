"""Promises of the judge: what is asked, how replies are read, what is kept, and what stays secret."""

import base64
import io
import json
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from recoder_jax.charts.sandbox import Sandbox
from recoder_jax.rewards.images import bounded
from recoder_jax.rewards.judge import ITEMS, FailureKind, Judge, Judgement, JudgeOptions, parse_reply
from recoder_jax.rewards.judge_cache import JudgeCache, cache_key
from recoder_jax.rewards.judge_prompt import REPLY_FORMAT, presentable
from tests.fault_server import FULL, GOOD, HALF, MIDDLING, REFERENCE, RENDER, completion, judge_of, render_of


def images_of(request) -> list[np.ndarray]:
    urls = [part['image_url']['url'] for part in request['messages'][0]['content'][1:]]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(url.removeprefix('data:image/png;base64,'))))) for url in urls]


def test_points_become_a_share_of_one_hundred():
    with judge_of(completion(MIDDLING, usage={'prompt_tokens': 900, 'completion_tokens': 40})) as (judge, _):
        judgement = judge.judge(REFERENCE, RENDER)
        assert judgement == Judgement(score=0.5, items=HALF)
        assert (judgement.prompt_tokens, judgement.reply_tokens) == (900, 40) and judgement.seconds > 0


def test_the_reference_comes_first_and_the_pixels_arrive_whole():
    with judge_of(GOOD) as (judge, server):
        judge.judge(REFERENCE, RENDER)
    content = server.requests[0]['messages'][0]['content']
    assert [part['type'] for part in content] == ['text', 'image_url', 'image_url']
    assert all(np.array_equal(sent, image) for sent, image in zip(images_of(server.requests[0]), (REFERENCE, RENDER)))
    assert all(f'"{item.name}", 0 to {item.points}' in content[0]['text'] for item in ITEMS)
    assert sum(item.points for item in ITEMS) == 100 and server.requests[0]['temperature'] == 0
    assert server.requests[0]['response_format'] == REPLY_FORMAT


@pytest.mark.parametrize('shape', [(1, 1), (1, 5000), (5000, 1), (27, 400), (3000, 2000), (1, 3_000_000)])
def test_images_of_any_size_are_sent_within_bounds(shape):
    image = np.zeros((*shape, 3), np.uint8)
    image[: shape[0] // 2 or 1] = 90
    with judge_of(GOOD, max_pixels=10_000) as (judge, server):
        assert judge.judge(REFERENCE, image, fresh=True).score == 1.0
    sent = images_of(server.requests[0])[1]
    assert min(sent.shape[:2]) >= 28 and max(sent.shape[:2]) <= 100 * min(sent.shape[:2])
    assert sent.shape[0] * sent.shape[1] <= 28 * 1000


def test_a_huge_render_is_scaled_without_a_second_copy_of_it():
    huge = np.broadcast_to(np.uint8([10, 20, 30]), (20_000, 20_000, 3))
    tracemalloc.start()
    small = presentable(huge, 1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert small.shape == (1000, 1000, 3) and (small == [10, 20, 30]).all() and peak < 100e6


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 400))
def test_scaling_keeps_the_bound_and_the_mean(height, width, most):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    small = bounded(image, most)
    assert 1 <= small.shape[0] * small.shape[1] <= max(most, 1) or small.shape == image.shape and image[..., 0].size <= most
    assert small.dtype == np.uint8 and image.min() <= small.min() <= small.max() <= image.max()


@pytest.mark.parametrize('render', [None, np.zeros((0, 5, 3), np.uint8), np.full((30, 40, 3), 255, np.uint8), np.zeros((1, 1, 3), np.uint8)])
def test_where_nothing_is_drawn_the_score_is_zero_and_nobody_is_asked(render):
    with judge_of(GOOD) as (judge, server):
        assert judge.judge(REFERENCE, render) == Judgement(score=0.0)
        assert server.requests == []


def test_a_blank_page_is_asked_about_when_a_fresh_judgement_is_wanted():
    with judge_of(GOOD) as (judge, server):
        assert judge.judge(REFERENCE, np.full((30, 40, 3), 255, np.uint8), fresh=True).score == 1.0
        assert len(server.requests) == 1


@pytest.mark.parametrize('wrong', [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), 'x'])
def test_arrays_of_another_form_are_refused_at_once(wrong):
    with judge_of(GOOD) as (judge, _):
        with pytest.raises(ValueError, match='give uint8'):
            judge.submit(REFERENCE, wrong)
        with pytest.raises(ValueError, match='give uint8'):
            judge.submit(wrong, RENDER)


def test_a_server_without_schemas_is_asked_without_from_then_on():
    with judge_of(lambda body: 400 if 'response_format' in body else GOOD, concurrency=1) as (judge, server):
        assert [judge.judge(REFERENCE, render_of(n)).score for n in range(3)] == [1.0] * 3
        assert ['response_format' in request for request in server.requests] == [True, False, False, False]


def test_schemas_can_be_switched_off():
    with judge_of(GOOD, structured=False) as (judge, server):
        judge.judge(REFERENCE, RENDER)
        assert 'response_format' not in server.requests[0]


def test_an_equal_question_is_asked_once_also_by_a_later_run(tmp_path):
    with judge_of(MIDDLING, cache=str(tmp_path)) as (judge, server):
        futures = [judge.submit(REFERENCE, RENDER.copy()) for _ in range(8)]
        assert {future.result().score for future in futures} == {0.5} and len(server.requests) == 1
    with judge_of(500, cache=str(tmp_path)) as (judge, server):
        again = judge.judge(REFERENCE, RENDER)
        assert again == Judgement(score=0.5, items=HALF) and again.cached and server.requests == []
        judge.judge(REFERENCE, RENDER, fresh=True)
        assert server.requests


@pytest.mark.parametrize('change', [{'model': 'other'}, {'reply_tokens': 100}, {'structured': False}, {'max_pixels': 100}])
def test_what_decides_an_answer_is_part_of_its_key(tmp_path, change):
    with judge_of(MIDDLING, cache=str(tmp_path)) as (judge, _):
        judge.judge(REFERENCE, RENDER)
    with judge_of(GOOD, cache=str(tmp_path), **change) as (judge, _):
        assert judge.judge(REFERENCE, RENDER).score == 1.0


def test_both_images_and_their_order_are_part_of_the_key(tmp_path):
    with judge_of(MIDDLING, GOOD, cache=str(tmp_path)) as (judge, _):
        assert judge.judge(render_of(1), render_of(2)).score == 0.5
        assert [judge.judge(render_of(a), render_of(b)).score for a, b in ((2, 1), (1, 3), (3, 2))] == [1.0] * 3


def test_keys_see_where_one_part_ends():
    assert cache_key('ab', 'c') != cache_key('a', 'bc')


def test_failures_are_not_kept(tmp_path):
    with judge_of(500, 500, GOOD, cache=str(tmp_path), attempts=2) as (judge, _):
        assert judge.judge(REFERENCE, RENDER).score is None
        assert judge.judge(REFERENCE, RENDER).score == 1.0


@pytest.mark.parametrize('damage', [b'', b'{', b'null', b'{"items": {}}', json.dumps({'items': FULL | {'data': 99}}).encode(), b'\xff\xfe', b'[' * 9000])
def test_a_damaged_entry_counts_as_absent_and_is_replaced(tmp_path, damage):
    cache = JudgeCache(tmp_path)
    cache.put('abcd', HALF)
    file = next(tmp_path.rglob('*.json'))
    file.write_bytes(damage)
    assert cache.get('abcd') is None
    cache.put('abcd', HALF)
    assert cache.get('abcd') == HALF and [path.suffix for path in tmp_path.rglob('*') if path.is_file()] == ['.json']


WRITER = '''
import sys
from recoder_jax.rewards.judge_cache import JudgeCache
from recoder_jax.rewards.judge_prompt import ITEMS
for _ in range(100):
    JudgeCache(sys.argv[1]).put('abcd', {item.name: item.points * float(sys.argv[2]) for item in ITEMS})
'''


def test_processes_share_a_cache_and_never_see_half_an_entry(tmp_path):
    cache = JudgeCache(tmp_path)
    cache.put('abcd', HALF)
    writers = [subprocess.Popen([sys.executable, '-c', WRITER, str(tmp_path), share]) for share in ('0.5', '1')]
    while any(writer.poll() is None for writer in writers):
        assert cache.get('abcd') in (HALF, FULL)
    assert [writer.returncode for writer in writers] == [0, 0] and cache.get('abcd') in (HALF, FULL)


def test_a_cache_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(ValueError, match='set judge.cache'):
        Judge(JudgeOptions('http://localhost/v1', 'm', cache=str(tmp_path / 'file')))


SECRET = 'sk-' + 'a1b2c3d4' * 4


def test_the_key_comes_from_the_environment_and_reaches_the_server_alone(monkeypatch, caplog, capfd):
    monkeypatch.setenv('JUDGE_KEY_OF_TEST', SECRET)
    caplog.set_level('DEBUG')
    with judge_of(401, f'Your key is {SECRET}.', key_variable='JUDGE_KEY_OF_TEST', attempts=1) as (judge, server):
        refused, echoed = judge.judge(REFERENCE, RENDER), judge.judge(REFERENCE, render_of(1))
        assert server.headers[0]['authorization'] == f'Bearer {SECRET}'
        said = repr([refused, echoed, judge, judge._options, judge._servers.all, judge.health])
    assert refused.kind is FailureKind.refused and echoed.kind is FailureKind.unusable and '***' in echoed.failure
    assert SECRET not in said + caplog.text + ''.join(capfd.readouterr())


def test_the_key_does_not_reach_a_program(monkeypatch):
    monkeypatch.setenv('JUDGE_KEY_OF_TEST', SECRET)
    program = 'import os, glob\nfound = str(dict(os.environ))\n' + \
        'for path in glob.glob("/proc/[0-9]*/environ"):\n    try:\n        found += open(path).read()\n    except OSError:\n        pass\n' + \
        f'raise ValueError({SECRET[:9]!r} in found, len(found))'
    with Sandbox(workers=1) as sandbox:
        assert 'ValueError: (False, ' in sandbox.execute(program).log


@pytest.mark.parametrize('address', [f'http://me:{SECRET}@host/v1', f'https://{SECRET}@host/v1', f'http://host/v1?key={SECRET}'])
def test_a_secret_in_the_address_is_refused_without_repeating_it(address):
    with pytest.raises(ValueError, match='judge.key_variable') as caught:
        JudgeOptions(f'http://localhost/v1,{address}', 'm')
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(('address', 'words'), [('localhost:8000', 'not a URL'), ('', 'not a URL'), ('http://', 'not a URL'), ('http://a/v1,', 'not a URL'),
                                                ('ftp://a/v1', 'not a URL'), ('http://a:99999/v1', 'not a URL')])
def test_addresses_without_sense_are_refused(address, words):
    with pytest.raises(ValueError, match=words):
        JudgeOptions(address, 'm')


@pytest.mark.parametrize('change', [{'attempts': 0}, {'concurrency': 0}, {'server_concurrency': 0}, {'breaker_failures': 0}, {'reply_tokens': 0},
                                    {'max_pixels': 0}, {'seconds': 0.0}, {'queue_seconds': -1.0}, {'attempt_seconds': float('nan')},
                                    {'breaker_pause': 0.0}, {'first_pause': float('inf')}])
def test_options_without_sense_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        JudgeOptions('http://localhost/v1', 'm', **change)


@pytest.mark.parametrize('reply, data', [
    (GOOD, 20),
    ('```json\n' + GOOD + '\n```', 20),
    ('First {"a": 1}. Then:\n' + json.dumps(FULL | {'data': '7.5 / 20'}) + ' Done.', 7.5),
    (json.dumps({name.upper().replace('_', ' '): points for name, points in (FULL | {'data': 3}).items()}), 3),
    (json.dumps(FULL | {'comment': 'close'}), 20),
])
def test_replies_as_models_write_them_are_read(reply, data):
    assert parse_reply(reply)['data'] == data


@pytest.mark.parametrize('change', [{'data': 21}, {'data': -1}, {'data': None}, {'data': True}, {'data': '20/100'}, {'data': 'many'},
                                    {'data': 10 ** 400}, {'data': float('nan')}, {'data': [1]}])
def test_points_outside_their_limits_are_never_clamped(change):
    assert parse_reply(json.dumps(FULL | change)) is None


@settings(deadline=None, max_examples=60)
@given(st.text() | st.recursive(st.none() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)).map(json.dumps))
def test_parsing_never_raises(reply):
    parse_reply(reply)
    parse_reply('{' * 5_000 + reply)
