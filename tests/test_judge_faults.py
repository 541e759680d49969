"""Whatever servers do, every question gets a judgement or a named failure, within its time, and nothing is left behind."""

import asyncio
import email.utils
import gc
import os
import threading
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from recoder_jax.rewards.judge import FailureKind, Judge, Judgement, JudgeOptions
from recoder_jax.rewards.judge_asking import retry_after
from recoder_jax.rewards.judge_servers import LONGEST_REST, NoServer, Server, Servers
from tests.fault_server import FULL, GOOD, MIDDLING, REFERENCE, RENDER, completion, judge_of, judge_of_several, render_of, serving

PASSING = [500, 503, 429, 408, (429, {'Retry-After': '0'}), (503, {'Retry-After': '0.01'}), 'drop', 'reset', 'truncate', b'<html>not json</html>',
           b'{}', b'{"choices": []}', b'null', b'[' * 100_000, completion(None), completion([1]), 'I think it is nice.', '{"data": 1}',
           GOOD.replace('20', '21'), GOOD.replace('20', '-1'), GOOD.replace('20', 'NaN'), '']


@pytest.mark.parametrize('trouble', PASSING, ids=lambda trouble: repr(trouble)[:30])
def test_what_may_pass_is_asked_again(trouble):
    with judge_of(trouble, trouble, GOOD) as (judge, server):
        assert judge.judge(REFERENCE, RENDER).score == 1.0
        assert len(server.requests) == 3


@pytest.mark.parametrize(('trouble', 'kind'), [
    (500, 'broken'), ('drop', 'unreachable'), ('reset', 'unreachable'), ('truncate', 'broken'), (b'{}', 'broken'), ('flood', 'too_large'),
    ('I give 20 of 20.', 'unusable'), (GOOD.replace('20', '21'), 'unusable')])
def test_a_judge_that_never_recovers_gives_a_named_failure_and_not_zero(trouble, kind):
    with judge_of(trouble, attempts=2) as (judge, server):
        judgement = judge.judge(REFERENCE, RENDER)
        assert judgement.score is None and judgement.kind == kind
        assert 'failed 2 times' in judgement.failure and '\n' not in judgement.failure and len(server.requests) == 2


@pytest.mark.parametrize(('status', 'kind', 'asked'), [(400, 'refused', 2), (401, 'refused', 1), (404, 'refused', 1), (413, 'too_large', 1)])
def test_a_refused_question_is_not_repeated_but_for_one_without_a_schema(status, kind, asked):
    with judge_of(status) as (judge, server):
        judgement = judge.judge(REFERENCE, RENDER)
        assert judgement.kind == kind and f'status {status}' in judgement.failure and len(server.requests) == asked


def test_an_unusable_reply_is_asked_for_at_another_temperature():
    with judge_of('no', GOOD) as (judge, server):
        judge.judge(REFERENCE, RENDER)
        assert server.requests[0]['temperature'] == 0 < server.requests[1]['temperature']


@pytest.mark.parametrize('trouble', ['hang', 'trickle', 500, 429, (429, {'Retry-After': '50'})])
def test_the_deadline_holds_whatever_the_server_does(trouble):
    with judge_of(trouble, seconds=0.3, attempts=100) as (judge, _):
        judgement = judge.submit(REFERENCE, RENDER).result(timeout=10)
        assert judgement.kind == ('overloaded' if '429' in str(trouble) else 'timeout') and 'within 0.3 s' in judgement.failure


def test_a_hanging_attempt_leaves_time_for_another():
    with judge_of('hang', GOOD, attempt_seconds=0.2) as (judge, _):
        assert judge.submit(REFERENCE, RENDER).result(timeout=10).score == 1.0


def test_waiting_for_a_turn_does_not_count_against_the_deadline():
    with judge_of(('slow', 0.2, GOOD), seconds=1.0, concurrency=1) as (judge, _):
        futures = [judge.submit(REFERENCE, render_of(n)) for n in range(8)]
        assert [future.result(timeout=20).score for future in futures] == [1.0] * 8


def test_waiting_for_a_turn_is_bounded_too():
    with judge_of('hang', queue_seconds=0.2, seconds=5.0, concurrency=1) as (judge, _):
        futures = [judge.submit(REFERENCE, render_of(n)) for n in range(3)]
        kinds = [future.result(timeout=30).kind for future in futures]
        assert sorted(kinds) == ['queued', 'queued', 'timeout']      # images are prepared in threads, so any may be the first


def test_a_server_that_asks_for_patience_is_left_alone_for_so_long():
    with judge_of((429, {'Retry-After': '0.4'}), GOOD, attempts=1) as (judge, server):
        futures = [judge.submit(REFERENCE, RENDER)]
        while not server.times:
            time.sleep(0.01)
        time.sleep(0.1)
        futures += [judge.submit(REFERENCE, render_of(n)) for n in range(1, 4)]
        assert [future.result(timeout=10).score for future in futures] == [1.0] * 4      # being told to wait is no attempt
        assert min(server.times[1:]) - server.times[0] > 0.35


@pytest.mark.parametrize(('header', 'seconds'), [(None, None), ('3', 3), ('0.5', 0.5), ('-3', 0), ('soon', None), ('nan', None), ('inf', None), ('', None),
                                                 (email.utils.formatdate(1_000_060, usegmt=True), 60), (email.utils.formatdate(5, usegmt=True), 0)])
def test_retry_after_is_read_as_seconds_or_as_a_date(header, seconds):
    assert retry_after(header, 1_000_000) == seconds


def test_no_server_at_all_is_a_failure():
    with Judge(JudgeOptions('http://127.0.0.1:9/v1', 'm', attempts=2, first_pause=0.01)) as judge:
        judgement = judge.judge(REFERENCE, RENDER)
        assert judgement.kind is FailureKind.unreachable and 'connection' in judgement.failure


@pytest.mark.parametrize('dead', [None, [500], ['reset'], ['hang'], [401], [404], [(429, {'Retry-After': '1000'})], [b'<html>']], ids=repr)
def test_one_server_of_three_out_of_order_costs_no_question(dead):
    with judge_of_several([GOOD], dead, [GOOD], attempt_seconds=0.5, breaker_pause=30.0, concurrency=12) as (judge, servers):
        futures = [judge.submit(REFERENCE, render_of(n)) for n in range(60)]
        assert [future.result(timeout=30).score for future in futures] == [1.0] * 60
        assert dead is None or len(servers[1].requests) < 25
        assert min(len(servers[0].requests), len(servers[2].requests)) > 10      # the living share the questions


def test_a_server_that_comes_back_is_used_again():
    with judge_of(500, 500, 500, GOOD, breaker_failures=3, attempts=5) as (judge, server):
        futures = [judge.submit(REFERENCE, render_of(n)) for n in range(6)]
        assert [future.result(timeout=20).score for future in futures] == [1.0] * 6


def test_when_all_servers_are_out_every_question_is_told_soon():
    with judge_of_several(None, None, attempts=3, breaker_failures=2, breaker_pause=0.05) as (judge, _):
        began = time.monotonic()
        judgements = [future.result(timeout=20) for future in [judge.submit(REFERENCE, render_of(n)) for n in range(100)]]
        assert {judgement.kind for judgement in judgements} == {FailureKind.unreachable} and time.monotonic() - began < 15


def test_no_more_questions_are_open_than_allowed():
    with judge_of_several([('slow', 0.03, GOOD)], [('slow', 0.03, GOOD)], concurrency=5, server_concurrency=3) as (judge, servers):
        for future in [judge.submit(REFERENCE, render_of(n)) for n in range(40)]:
            future.result()
        assert [server.busiest for server in servers] <= [3, 3] and 2 <= max(server.busiest for server in servers)
        assert sum(server.busiest for server in servers) <= 6


def points_of_render(body) -> str:
    """A reply that depends on the render that was sent: its length stands for its content."""
    return GOOD.replace('"data": 20', f'"data": {len(body["messages"][0]["content"][2]["image_url"]["url"]) % 21}')


def test_five_hundred_questions_keep_their_answers():
    images = [np.pad(render_of(n), ((0, n % 13), (0, 0), (0, 0))) for n in range(500)]
    with judge_of(points_of_render, concurrency=128, server_concurrency=128) as (judge, server):
        judgements = [future.result(timeout=60) for future in [judge.submit(REFERENCE, image) for image in images]]
        assert len(server.requests) == 500 and all(judgement.score is not None for judgement in judgements)
        assert [judge.judge(REFERENCE, image) for image in images[:30]] == judgements[:30]      # each again, alone
    assert len({judgement.items['data'] for judgement in judgements}) > 1


def open_things() -> tuple[int, int]:
    gc.collect()
    sockets = sum(os.readlink(f'/proc/self/fd/{name}').startswith('socket') for name in os.listdir('/proc/self/fd') if os.path.lexists(f'/proc/self/fd/{name}'))
    return threading.active_count(), sockets


@pytest.mark.skipif(not os.path.isdir('/proc/self/fd'), reason='no /proc here that lists open sockets')
def test_closing_leaves_no_thread_and_no_socket():
    with serving([GOOD, 'hang']) as server:
        before, held = open_things()      # held: the server's socket, and those of what else this process has open
        sockets = None
        for _ in range(3):
            judge = Judge(JudgeOptions(f'{server.address},http://localhost:9/v1', 'm', first_pause=0.01))
            futures = [judge.submit(REFERENCE, render_of(n)) for n in range(8)]
            time.sleep(0.2)
            judge.close()
            judge.close()
            assert all(future.done() for future in futures)
            assert not [thread.name for thread in threading.enumerate() if thread.name.startswith(('judge', 'asyncio'))]
        server.stopped.set()
        deadline = time.monotonic() + 10
        while (threading.active_count() > before or sockets is None or sockets > held + 1) and time.monotonic() < deadline:
            time.sleep(0.05)
            sockets = open_things()[1]
        assert threading.active_count() <= before and sockets <= held + 1


def test_closing_ends_open_questions_as_failures():
    with judge_of('hang', concurrency=1) as (judge, _):
        futures = [judge.submit(REFERENCE, render_of(n)) for n in range(3)] + [judge.submit(REFERENCE, RENDER, fresh=True)]
        judge.close()
        assert all(future.result(timeout=10).kind is FailureKind.closed for future in futures)
        with pytest.raises(ValueError, match='closed'):
            judge.submit(REFERENCE, RENDER)


ACTIONS = st.sampled_from([GOOD, MIDDLING, 'drop', 'reset', 'truncate', 'hang', 'flood', 400, 401, 413, 429, 500, (429, {'Retry-After': '0.05'}),
                           (503, {'Retry-After': '9999999'}), ('slow', 0.05, GOOD), b'{', 'nonsense'])


@settings(deadline=None, max_examples=8, suppress_health_check=list(HealthCheck))
@given(st.lists(st.none() | st.lists(ACTIONS, min_size=1, max_size=8), min_size=1, max_size=3))
def test_every_question_gets_a_judgement_in_time_whatever_the_servers_do(scripts):
    options = {'seconds': 0.5, 'queue_seconds': 1.0, 'attempt_seconds': 0.2, 'breaker_failures': 2}
    with judge_of_several(*scripts, **options) as (judge, _):
        futures = [judge.submit(REFERENCE, render_of(n)) for n in range(6)]
        judgements = [future.result(timeout=20) for future in futures]
    for judgement in judgements:
        assert isinstance(judgement, Judgement) and (judgement.score is None) == (judgement.kind is not None) == (judgement.failure is not None)
        assert judgement.score is None or judgement.score == sum(judgement.items.values()) / sum(FULL.values())
        assert judgement.kind is not FailureKind.internal


def servers_of(count, **options) -> Servers:
    limits = {'concurrency': 10, 'server_concurrency': 10, 'breaker_failures': 2, 'breaker_pause': 0.05} | options
    return Servers([Server(f'http://{n}', None) for n in range(count)], **limits)


def test_questions_go_to_the_server_with_the_fewest_in_flight():
    async def run():
        servers = servers_of(3)
        taken = [await servers.take(True) for _ in range(6)]
        servers.give(taken[1], True)
        servers.give(taken[4], True)
        return [server.address for server in taken], (await servers.take(True)).address
    taken, then = asyncio.run(run())
    assert sorted(taken) == sorted(2 * ['http://0', 'http://1', 'http://2']) and then == taken[1]


def test_a_half_open_server_gets_one_question_and_those_who_wait_learn_its_fate():
    async def run():
        servers, later = servers_of(1), []
        for _ in range(2):
            servers.give(await servers.take(True), False)
        waiting = [asyncio.create_task(servers.take(True)) for _ in range(3)]
        done, pending = await asyncio.wait(waiting, timeout=1, return_when=asyncio.FIRST_COMPLETED)
        later.append((len(done), len(pending)))
        servers.give(done.pop().result(), False)
        results = await asyncio.gather(*pending, return_exceptions=True)
        later.append([type(result) for result in results])
        servers.give(await servers.take(True), True)
        await servers.take(True), await servers.take(True)
        servers.close()
        return later
    assert asyncio.run(run()) == [(1, 2), [NoServer, NoServer]]


def test_who_asks_again_comes_before_who_asks_for_the_first_time():
    async def run():
        servers, order = servers_of(1, concurrency=1), []

        async def ask(name, first):
            server = await servers.take(first)
            order.append(name)
            servers.give(server, True)
        held = await servers.take(True)
        tasks = [asyncio.create_task(ask(name, first)) for name, first in (('new 1', True), ('new 2', True), ('again', False))]
        await asyncio.sleep(0)
        servers.give(held, True)
        await asyncio.gather(*tasks)
        return order
    assert asyncio.run(run()) == ['again', 'new 1', 'new 2']


def test_a_turn_that_comes_as_its_taker_is_cancelled_is_not_lost():
    async def run():
        servers = servers_of(1, concurrency=1)
        held = await servers.take(True)
        task = asyncio.create_task(servers.take(True))
        await asyncio.sleep(0)
        servers.give(held, True)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return (await asyncio.wait_for(servers.take(True), 1)).in_flight
    assert asyncio.run(run()) == 1


def test_no_server_rests_for_longer_than_is_allowed():
    async def run():
        servers = servers_of(1)
        servers.rest(servers.all[0], 1e9)
        return servers.all[0].rests_until - asyncio.get_running_loop().time()
    assert asyncio.run(run()) <= LONGEST_REST
