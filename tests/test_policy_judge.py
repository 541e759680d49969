"""A judge in this process: the questions and the parsing of the judge behind a server, and a typed failure for every reply that is none."""

import json

import numpy as np
import pytest

from recoder_jax import factory
from recoder_jax.configuration import load
from recoder_jax.dialogue.response import parse_response
from recoder_jax.models.store import save_policy
from recoder_jax.rewards.judge import ITEMS, FailureKind
from recoder_jax.rewards.judge_forms import RATING
from recoder_jax.rewards.judge_prompt import TEXT
from recoder_jax.rewards.mixture import Mixture
from recoder_jax.rollout.measure import reward_metrics
from recoder_jax.rollout.policy_judge import PolicyJudge, PolicyJudgeOptions
from recoder_jax.sampling.functions import Sampler
from recoder_jax.sampling.layout import Buckets
from tests.conftest import image_of
from tests.test_mixture import CRASHED, GOLDEN, GOOD_RESPONSE, TARGET, execution_of

HALF = json.dumps({item.name: item.points / 2 for item in ITEMS})
FULL = json.dumps({item.name: item.points for item in ITEMS})


class Scripted:
    """Stands for the encoder and hears the replies of a script, one a row, whatever was sampled. prompts: what was asked."""

    def __init__(self, encoder, *replies):
        self._encoder, self._replies, self.asked, self.messages = encoder, list(replies), 0, []

    def __getattr__(self, name):
        return getattr(self._encoder, name)

    def prompt(self, messages):
        self.messages.append(messages)
        return self._encoder.prompt(messages)

    def decode(self, ids):
        self.asked += 1
        return self._replies[min(self.asked, len(self._replies)) - 1]


@pytest.fixture(scope="module")
def sampler(policy):
    return Sampler(policy.graphdef, policy.config, policy.encoder, Buckets(tokens=32))


def judge_of(policy, sampler, *replies, **options):
    encoder = Scripted(policy.encoder, *replies) if replies else policy.encoder
    given = {"batch": 2, "attempts": 2, "reply_tokens": 8, "max_pixels": 56 * 84} | options
    return PolicyJudge(sampler, sampler.load(policy.params), encoder, PolicyJudgeOptions("tiny", **given)), encoder


def test_replies_become_points_by_item_in_the_order_of_submission(policy, sampler):
    judge, encoder = judge_of(policy, sampler, FULL, HALF, f"Here: ```json\n{HALF}\n```", FULL)
    pending = [judge.submit(image_of(0), image_of(n)) for n in (1, 2, 3)]
    assert encoder.asked == 0      # nobody has asked for a result yet
    judgements = [one.result() for one in pending]
    assert [judgement.score for judgement in judgements] == [1.0, 0.5, 0.5] and encoder.asked == 3      # on two places
    assert judgements[1].items == {item.name: item.points / 2 for item in ITEMS} and judgements[0].prompt_tokens > 50
    (message,) = encoder.messages[0]
    assert message.content[0] == TEXT and np.array_equal(message.content[1], image_of(0)) and np.array_equal(message.content[2], image_of(1))


def test_a_reply_without_points_is_asked_for_again_and_then_a_typed_failure(policy, sampler):
    judge, encoder = judge_of(policy, sampler, FULL, "no idea", HALF)
    one, other = [judge.submit(image_of(0), image_of(n)) for n in (1, 2)]
    assert (one.result().score, other.result().score) == (1.0, 0.5) and encoder.asked == 3      # who has points keeps them
    judge, _ = judge_of(policy, sampler, "no idea")
    lost = judge.judge(image_of(0), image_of(1))
    assert lost.score is None and lost.kind is FailureKind.unusable and "no idea" in lost.failure


def test_the_junk_of_a_tiny_policy_is_missing_and_never_a_silent_zero(policy, sampler):
    judge, _ = judge_of(policy, sampler)
    for on_missing, total in (("renormalise", 1.0), ("zero", 0.7)):
        mixture = Mixture(0.5, 0.3, judge, on_missing=on_missing)
        judgement = mixture.ask(TARGET, GOLDEN).result()
        reward = mixture(GOOD_RESPONSE, GOLDEN, GOLDEN, judgement, TARGET)
        assert reward.total == pytest.approx(total) and reward.missing == ("model",)
        assert reward_metrics([reward]).values()["judge/failed_unusable"] == reward_metrics([reward]).values()["reward/unjudged"] == 1.0
    assert judge.judge(TARGET, TARGET) == judge.judge(TARGET, TARGET)      # the same question, the same junk


def test_a_question_gets_its_reply_in_whatever_order_questions_come(policy, sampler):
    """The second attempt is sampled; questions arrive as programs end, and rewards must not depend on that."""
    replies = []
    for order in ((1, 2, 3), (3, 1, 2)):
        judge, _ = judge_of(policy, sampler)
        pending = {n: judge.submit(image_of(0), image_of(n)) for n in order}
        replies.append({n: pending[n].result().failure for n in (1, 2, 3)})
    assert replies[0] == replies[1] and len(set(replies[0].values())) > 1


def test_what_has_nothing_drawn_scores_zero_without_a_question(policy, sampler):
    judge, encoder = judge_of(policy, sampler, FULL)
    empty = np.zeros((0, 5, 3), np.uint8)
    blank = [None, np.full((40, 50, 3), 255, np.uint8), image_of(0, 1, 1), empty]
    assert [judge.judge(TARGET, render).score for render in blank] == [0.0] * 4 and judge.judge(empty, TARGET).score == 0.0
    assert encoder.asked == 0 and judge.judge(TARGET, blank[1], fresh=True).score == 1.0
    assert judge.judge(TARGET, np.broadcast_to(np.uint8([[[0, 0, 0]], [[255, 0, 0]]]).repeat(10_000, 0), (20_000, 20_000, 3))).score == 1.0


def test_equal_questions_are_asked_once_and_kept(policy, sampler, tmp_path):
    judge, encoder = judge_of(policy, sampler, HALF, cache=str(tmp_path))
    pending = [judge.submit(image_of(0), image_of(1)) for _ in range(5)]
    assert {one.result().score for one in pending} == {0.5} and len(encoder.messages) == 1
    again, other = judge_of(policy, sampler, FULL, cache=str(tmp_path))
    kept = again.judge(image_of(0), image_of(1))
    assert kept.score == 0.5 and kept.cached and other.asked == 0 and again.judge(image_of(0), image_of(1), fresh=True).score == 1.0
    assert judge_of(policy, sampler, FULL, cache=str(tmp_path), reply_tokens=9)[0].judge(image_of(0), image_of(1)).score == 1.0


def test_a_policy_that_changed_in_its_directory_is_another_judge(policy, tmp_path):
    save_policy(tmp_path / "judge", policy.config, policy.params)
    before = factory.policy_mark(str(tmp_path / "judge"))
    weights = max((file for file in (tmp_path / "judge").rglob("*") if file.is_file()), key=lambda file: file.stat().st_size)
    weights.write_bytes(weights.read_bytes())  # of another date
    assert factory.policy_mark(str(tmp_path / "judge")) != before


def test_another_form_is_asked_here_too_and_kept_apart(policy, sampler, tmp_path):
    judge, encoder = judge_of(policy, sampler, "Fine. Rating: [[7]]", cache=str(tmp_path))
    rating = judge.put(RATING, TEXT, (image_of(0), image_of(1))).result()      # a text of its length is compiled already
    assert (rating.score, rating.items) == (0.7, {"rating": 7.0}) and len(encoder.messages[0][0].content) == 3
    again, other = judge_of(policy, sampler, HALF, cache=str(tmp_path))
    assert again.put(RATING, TEXT, (image_of(0), image_of(1))).result().cached and other.asked == 0
    assert again.judge(image_of(0), image_of(1)).score == 0.5      # a rating is no points, whatever was asked
    again.close()
    with pytest.raises(ValueError, match="closed"):
        again.put(RATING)


def test_closing_ends_open_questions_and_wrong_arrays_are_refused(policy, sampler):
    judge, _ = judge_of(policy, sampler, FULL)
    with judge:
        pending = judge.submit(image_of(0), image_of(1))
        with pytest.raises(ValueError, match="give uint8"):
            judge.submit(image_of(0), np.zeros((4, 4)))
    judge.close()
    assert pending.result().kind is FailureKind.closed
    with pytest.raises(ValueError, match="closed"):
        judge.submit(image_of(0), image_of(1))


def test_a_config_names_a_policy_as_its_judge(policy, tmp_path):
    """From the weights on disk to a reward that lacks the part: the tiny policy answers junk."""
    save_policy(tmp_path / "judge", policy.config, policy.params)
    config = load("configs/tiny/stage1_shared_first_turn.py", [
        f"--config.judge.policy={tmp_path / 'judge'}", "--config.reward.alpha=0.5", "--config.reward.beta=0.3", "--config.judge.reply_tokens=8",
        "--config.judge.batch=2", "--config.judge.attempts=1", "--config.judge.max_pixels=9408"])
    with factory.judge_of(config, factory.one_device()) as judge:
        mixture = factory.mixture_of(config, judge)
        judgements = [pending.result() for pending in [mixture.ask(TARGET, execution) for execution in (GOLDEN, execution_of(TARGET // 2), CRASHED)]]
    assert [judgement.kind for judgement in judgements] == [FailureKind.unusable] * 2 + [None] and judgements[2].score == 0
    reward = mixture(parse_response(""), GOLDEN, GOLDEN, judgements[0], TARGET)
    assert reward.missing == ("model",) and reward.total == pytest.approx(0.5 / 0.7)
    with pytest.raises(ValueError, match="judge.base_url and judge.policy are both set"):
        load("configs/tiny/stage1_shared_first_turn.py", ["--config.judge.policy=a", "--config.judge.base_url=http://a/v1"])
