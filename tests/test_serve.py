"""Promises of the server to a client, asked by OpenAI's own: what is answered, and that nothing else on the server changes it."""

import asyncio
import contextlib
import json

import numpy as np
import openai
import pytest

from recoder_jax.bench import __main__ as bench
from recoder_jax.dialogue.turns import Message
from recoder_jax.rewards.judge import FailureKind, Judge, JudgeOptions
from recoder_jax.sampling.drawing import Controls
from recoder_jax.sampling.engine import Engine
from recoder_jax.sampling.places import Request
from recoder_jax.serving.app import identity_of
from tests.conftest import image_of
from tests.serving import data_url, room, sampler_of, serving, user


@pytest.fixture(scope="module")
def sampler(policy):
    return sampler_of(policy)


@pytest.fixture(scope="module")
def server(policy, sampler):
    with serving(policy, sampler) as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=server.address, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def ask(client):
    """A completion of the tiny policy."""
    def ask(messages="Draw a line.", **given):
        messages = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
        return client.chat.completions.create(model="tiny", messages=messages, **{"max_tokens": 20, "seed": 1} | given)

    return ask


def texts(completion):
    return [choice.message.content for choice in completion.choices]


@pytest.fixture(scope="module")
def natural(ask):
    """A seed whose answer ends by itself within 200 tokens, and that answer."""
    for seed in range(40):
        answer = ask(max_tokens=200, seed=seed)
        if answer.choices[0].finish_reason == "stop":
            return seed, answer
    raise AssertionError("the policy never says the end token")


def test_an_answer_is_what_the_engine_says_of_the_dialogue(policy, sampler, ask):
    messages = [{"role": "developer", "content": "Be brief."}, *user("What is it?", data_url(3)), {"role": "assistant", "content": "A bar."},
                {"role": "user", "content": [{"type": "text", "text": "Of what?"}, {"type": "text", "text": " Say."}]}]
    found = ask(messages, n=2, temperature=0.7, top_p=0.9, seed=7, extra_body={"top_k": 50, "min_p": 0.001, "repetition_penalty": 1.2})
    prompt = policy.encoder.prompt([
        Message("system", ("Be brief.",)), Message("user", (image_of(3), "What is it?")), Message("assistant", ("A bar.",)),
        Message("user", ("Of what?", " Say.")),
    ])
    engine = Engine(sampler, sampler.load(policy.params), room())
    engine.submit(Request(prompt, (7, 0, 0), 20, rows=2, controls=Controls(0.7, 0.9, 50, 0.001, 1.2)))
    said = {}
    while engine.busy:
        for one in engine.step():
            said[one.row] = one
            engine.release(one.request, one.row)
    assert texts(found) == [policy.encoder.decode(said[row].tokens) for row in range(2)] and texts(found)[0] != texts(found)[1]
    assert found.usage.prompt_tokens == len(prompt) and found.usage.completion_tokens == sum(len(one.tokens) for one in said.values())
    assert found.usage.total_tokens == found.usage.prompt_tokens + found.usage.completion_tokens
    assert found.object == "chat.completion" and found.model == "tiny" and found.id.startswith("chatcmpl-") and found.created > 0
    assert [choice.index for choice in found.choices] == [0, 1] and found.choices[0].message.role == "assistant"


def test_an_image_is_seen_as_data_url_and_as_bare_base64(ask):
    url = data_url(1)
    given = {"logprobs": True, "max_tokens": 4}
    first, bare, other = ask(user("?", url), **given), ask(user("?", url.partition(",")[2]), **given), ask(user("?", data_url(2)), **given)
    logprobs = [[one.logprob for one in answer.choices[0].logprobs.content] for answer in (first, bare, other)]
    assert logprobs[0] == logprobs[1] != logprobs[2]
    assert first.usage.prompt_tokens == ask("?", max_tokens=1).usage.prompt_tokens + 4 + 2  # 56 x 56 pixels, and two tokens around them


def test_the_cap_of_tokens_cuts_and_the_end_token_is_no_text(ask, natural):
    seed, whole = natural
    count = whole.usage.completion_tokens
    assert "<|im_end|>" not in texts(whole)[0]
    assert ask(max_tokens=count, seed=seed).choices[0].finish_reason == "stop"
    for name in ("max_tokens", "max_completion_tokens"):
        cut = ask(**{"max_tokens": openai.omit, name: count - 1}, seed=seed)
        assert cut.choices[0].finish_reason == "length" and cut.usage.completion_tokens == count - 1 and texts(cut) == texts(whole)


def test_logprobs_are_of_the_tokens_of_the_text_and_of_no_others(ask, natural):
    seed, whole = natural
    answer = ask(max_tokens=200, seed=seed, logprobs=True, top_logprobs=0)
    content = answer.choices[0].logprobs.content
    assert texts(answer) == texts(whole) and whole.choices[0].logprobs is None
    assert b"".join(bytes(one.bytes) for one in content).decode("utf-8", "replace") == texts(whole)[0]
    assert len(content) == whole.usage.completion_tokens - 1 and all(one.logprob < 0 and one.top_logprobs == [] for one in content)


def heard(stream):
    """Texts, tokens and reasons by answer, and the counts that a stream ends with."""
    said, tokens, reasons, usage = {}, {}, {}, None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            assert choice.index not in reasons
            said[choice.index] = said.get(choice.index, "") + (choice.delta.content or "")
            tokens.setdefault(choice.index, []).extend(choice.logprobs.content if choice.logprobs else [])
            if choice.finish_reason:
                reasons[choice.index] = choice.finish_reason
    return said, tokens, reasons, usage


@pytest.mark.parametrize("stop", [openai.omit, "e", ["\n", "title", "zzzz"]])
def test_a_stream_says_what_the_whole_answer_says(ask, natural, stop):
    given = {"n": 3, "max_tokens": 60, "seed": natural[0], "stop": stop, "logprobs": True}
    whole = ask(**given)
    said, tokens, reasons, usage = heard(ask(**given, stream=True, stream_options={"include_usage": True}))
    assert [said[n] for n in range(3)] == texts(whole) and [reasons[n] for n in range(3)] == [choice.finish_reason for choice in whole.choices]
    assert [tokens[n] for n in range(3)] == [choice.logprobs.content for choice in whole.choices] and usage == whole.usage
    assert heard(ask(**given, stream=True))[3] is None


def test_text_ends_exactly_before_a_stop_string(ask):
    whole = ask(max_tokens=60)
    text = texts(whole)[0]
    for stop in (text[20:23], text[33:40], text[5:6], text[0]):
        cut = ask(max_tokens=60, stop=[stop, "never said"])
        assert texts(cut)[0] == text[: text.index(stop)] and cut.choices[0].finish_reason == "stop"
        assert cut.usage.completion_tokens < whole.usage.completion_tokens
    assert texts(ask(max_tokens=60, stop="never said"))[0] == text


def questions():
    """Sixteen requests of many kinds."""
    for n in range(16):
        images = [data_url(n, 56, 28 * (1 + n % 3))] if n % 3 else []
        more = {"temperature": 0.8, "top_p": 0.9} if n % 4 == 0 else {"extra_body": {"top_k": 5, "repetition_penalty": 1.3}} if n % 4 == 1 else {}
        yield {"messages": user("go " * (1 + n), *images), "n": 1 + n % 3, "seed": n, "max_tokens": 10 + 3 * n, **more}


def test_a_seed_gives_one_answer_alone_and_among_sixteen_while_others_leave(server, ask):
    alone = [texts(ask(**question)) for question in questions()]

    async def together():
        async with openai.AsyncOpenAI(base_url=server.address, api_key="none", max_retries=0) as client:
            def create(question):
                return client.chat.completions.create(model="tiny", **question)

            async def leave(n, question):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(create(question | {"max_tokens": 3000, "temperature": 0}), 0.02 * (1 + n))

            many = [work for n, question in enumerate(questions()) for work in (create(question), leave(n, question))]
            return (await asyncio.gather(*many))[::2]

    assert [texts(answer) for answer in asyncio.run(together())] == alone
    assert len({text for answer in alone for text in answer}) == sum(map(len, alone))


def test_answers_differ_without_a_seed_and_between_seeds(ask):
    assert texts(ask(seed=None)) != texts(ask(seed=None))
    seeds = (0, 1, 2**31, 2**32, 2**40 + 1, -1, -(2**63), 2**63 - 1)
    assert len({identity_of(seed) for seed in seeds}) == len(seeds) and identity_of(5) == (5, 0, 0)
    assert all(np.array(identity_of(seed)).astype(np.int32).tolist() == list(identity_of(seed)) for seed in seeds)
    assert len({texts(ask(seed=seed))[0] for seed in seeds}) == len(seeds)


def test_temperature_zero_and_top_k_one_take_the_likeliest_token(ask):
    likeliest = texts(ask(temperature=0, seed=None))
    assert likeliest == texts(ask(temperature=1e-9)) == texts(ask(extra_body={"top_k": 1})) == texts(ask(top_p=1e-9))
    assert texts(ask(extra_body={"top_k": -1})) == texts(ask())


def test_the_model_is_listed_and_found(client):
    assert [model.id for model in client.models.list()] == ["tiny"] and client.models.retrieve("tiny").id == "tiny"
    with pytest.raises(openai.NotFoundError, match="'other' does not exist"):
        client.models.retrieve("other")
    with pytest.raises(openai.NotFoundError) as error:
        client.chat.completions.create(model="other", messages=[{"role": "user", "content": "?"}])
    assert error.value.code == "model_not_found" and error.value.param == "model"


def test_the_bench_counts_the_tokens_of_a_running_server(server, capsys):
    url = f"--base-url={server.address}"
    assert bench.main(["serve", url, "--clients", "1", "2", "--requests=2", "--tokens=4", "--side=56", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model"] == "tiny" and [run["clients"] for run in found["runs"]] == [1, 2]
    for run in found["runs"]:
        assert run["answers_per_second"] * run["seconds"] == pytest.approx(2 * run["clients"]) and 0 < run["first_token_seconds"] < run["seconds"]
        assert run["answers_per_second"] <= run["tokens_per_second"] <= 4 * run["answers_per_second"] * 1.001
    assert bench.main(["serve", "--base-url=http://127.0.0.1:9/v1"]) == 2 and "does not answer" in capsys.readouterr().err
    assert bench.main(["serve", url, "--tokens=0"]) == 2 and "--tokens is 0" in capsys.readouterr().err


def test_our_judge_asks_the_server(server):
    """Its schema is refused, so it asks without; the random policy's reply holds no points."""
    with Judge(JudgeOptions(server.address, "tiny", attempts=1, reply_tokens=12, max_pixels=56 * 84)) as judge:
        judgement = judge.judge(image_of(0), image_of(1))
        assert judgement.kind is FailureKind.unusable and judge.health[0][1:] == (1, 0)
