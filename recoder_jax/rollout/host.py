"""The host's side of a rollout, on threads of its own: from a response to its program, its execution, its feedback and its reward."""

import contextlib
import dataclasses
import queue
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from recoder_jax.charts.chart import Chart
from recoder_jax.charts.goldens import Goldens
from recoder_jax.charts.sandbox import Execution, Sandbox
from recoder_jax.dialogue.encoder import Encoder, Tokens, bounded_feedback
from recoder_jax.dialogue.response import Response, parse_response
from recoder_jax.dialogue.turns import Prompts, revising
from recoder_jax.languages.language import Language
from recoder_jax.languages.python import LANGUAGE as PYTHON
from recoder_jax.rewards.judgement import PendingJudgement
from recoder_jax.rewards.mixture import Mixture, Reward
from recoder_jax.rollout.trajectory import Turn
from recoder_jax.sampling.engine import Said
from recoder_jax.sampling.timeline import Timeline

THREADS = 2  # parse, lay out feedback, score; programs run in processes of their own


@dataclasses.dataclass(frozen=True)
class Speaker:
    """The user of the dialogues. turns: of a dialogue. limit: tokens of a feedback, images included. difference: whether a render is shown
    with a picture of its differences from the target. language: of the programs."""

    encoder: Encoder
    prompts: Prompts
    turns: int
    limit: int
    difference: bool = False
    language: Language = PYTHON

    def feedback(self, execution: Execution, response: Response, ended: bool, target: np.ndarray, instruction: str = "") -> Tokens:
        """Tokens between a response and the next one; they close a response that was cut. target: the chart, uint8 [H, W, 3], which stays hidden
        where the dialogue opened with an instruction."""
        log = execution.log if response.program is not None else self.language.missing
        end = Tokens(np.array([] if ended else [self.encoder.end_id], np.int32))
        shown = target if self.difference and not instruction else None
        return end + bounded_feedback(self.encoder, execution.render, log, revising(self.prompts, instruction), self.limit - len(end), shown)


@dataclasses.dataclass(eq=False)
class Heard:
    """A response on its way. execution, feedback, judgement, look, reward: None until they are there, or where there are none."""

    said: Said
    chart: Chart
    response: Response
    execution: Execution | None = None
    feedback: Tokens | None = None
    judgement: PendingJudgement | None = None
    look: Future[float] | None = None
    reward: Reward | None = None

    def asked(self) -> list[Future]:
        """What others work on; a judge in this process is no future and answers when it is asked for a result."""
        return [one for one in (self.look, self.judgement) if isinstance(one, Future)]

    def turn(self) -> Turn:
        said = self.said
        return Turn(said.turn, said.tokens, said.logprobs, said.ended, self.response, self.execution, self.reward, self.feedback)


class Host:
    """Takes responses over with `hear` and gives them back with `heard` as their programs end. Rewards follow: a judge is asked as soon as
    there is a render, and waited for in `finish`; so is who looks at it. A failure on a thread is raised by `heard` or `finish`."""

    def __init__(self, speaker: Speaker, sandbox: Sandbox, reward: Mixture | None, goldens: Goldens, timeline: Timeline):
        self._speaker, self._sandbox, self._reward, self._goldens, self._timeline = speaker, sandbox, reward, goldens, timeline
        self._pool, self._ready = ThreadPoolExecutor(THREADS), queue.SimpleQueue()
        self._executions: dict[str, Future[Execution]] = {}  # by program, golden ones among them
        self._lock = threading.Lock()  # of the executions
        self._all: list[Heard] = []
        self.programs = self._pending = 0

    def __enter__(self) -> "Host":
        return self

    def __exit__(self, *_) -> None:
        self._pool.shutdown(cancel_futures=True)

    def meet(self, chart: Chart) -> None:
        """Execute a chart's golden program where rewards need it and nobody met it before."""
        if self._reward is not None and chart.program not in self._goldens:
            self._execution(chart.program)

    def hear(self, said: Said, chart: Chart) -> None:
        """Take a response over."""
        self._pending += 1
        self._do(self._begin, said, chart)

    @property
    def behind(self) -> bool:
        """Whether more responses wait for their program to end than programs run at once."""
        return self._pending > self._sandbox.workers

    def heard(self, wait: bool) -> list[tuple[Said, Tokens | None]]:
        """Responses whose programs have ended, with the feedback that follows, None after the last turn. wait: for at least one, where there
        are any."""
        found = []
        while wait and not found and self._pending or not self._ready.empty():
            item = self._ready.get()
            if isinstance(item, BaseException):
                raise item
            self._pending -= 1
            found.append((item.said, item.feedback))
        return found

    def finish(self) -> dict[tuple[int, int, int], Turn]:
        """All turns by (chart, row, number), rewarded."""
        for heard in self._all:
            for asked in heard.asked():
                asked.result()
        self._pool.shutdown()
        self.heard(wait=False)
        for heard in self._all:
            if heard.reward is None and self._reward is not None:
                self._score(heard)
        return {(heard.said.request.identity[2], heard.said.row, heard.said.turn): heard.turn() for heard in self._all}

    def _do(self, function, *arguments) -> None:
        """Run on a thread; what goes wrong there comes out of `heard`."""

        def run():
            try:
                function(*arguments)
            except BaseException as error:
                self._ready.put(error)

        with contextlib.suppress(RuntimeError):  # the pool is shut: the rollout ended early, or `finish` does what is left
            self._pool.submit(run)

    def _execution(self, program: str) -> Future[Execution]:
        """Of a program, which runs once however many responses hold it: the same program draws the same."""
        with self._lock:
            if program not in self._executions:
                self._executions[program] = self._execute(program)
            return self._executions[program]

    def _execute(self, program: str) -> Future[Execution]:
        began, future = time.perf_counter(), self._sandbox.submit(program)
        future.add_done_callback(lambda _: self._timeline.note("execute", began))
        self.programs += 1
        return future

    def _begin(self, said: Said, chart: Chart) -> None:
        heard = Heard(said, chart, parse_response(self._speaker.encoder.decode(said.tokens), self._speaker.language))
        self._all.append(heard)
        program = heard.response.program
        future = self._execute("") if program is None else self._execution(program)
        future.add_done_callback(lambda future: self._do(self._answer, heard, future))

    def _answer(self, heard: Heard, future: Future[Execution]) -> None:
        """Lay out the feedback, then ask the judge and score what needs no waiting."""
        heard.execution = future.result()
        if heard.said.turn < self._speaker.turns:
            heard.feedback = self._speaker.feedback(heard.execution, heard.response, heard.said.ended, heard.chart.image, heard.chart.instruction)
        if self._reward is not None:
            began = time.perf_counter()
            heard.look = self._reward.look(heard.chart.image, heard.execution)
            heard.judgement = self._reward.ask(heard.chart.image, heard.execution)
        self._ready.put(heard)
        if self._reward is None:
            return
        if isinstance(heard.judgement, Future):
            heard.judgement.add_done_callback(lambda _: self._timeline.note("judge", began))
        if heard.judgement is None or isinstance(heard.judgement, Future):
            self._score_after(heard, heard.asked())

    def _score_after(self, heard: Heard, asked: list[Future]) -> None:
        """Score when all that was asked is answered; on this thread where nothing was."""
        if not asked:
            self._score(heard)
            return
        first, *others = asked
        first.add_done_callback(lambda _: self._do(self._score_after, heard, others))

    def _score(self, heard: Heard) -> None:
        judgement = heard.judgement and heard.judgement.result()
        chart, golden = heard.chart, self._golden(heard.chart.program)
        heard.reward = self._reward(heard.response, heard.execution, golden, judgement, chart.image, chart.program,
                                    heard.look and heard.look.result())

    def _golden(self, program: str) -> Execution:
        """The golden execution; one that fails is tried once more."""
        if program not in self._goldens:
            golden = self._executions[program].result()
            self._goldens[program] = golden if golden.ok else self._sandbox.execute(program)
        return self._goldens[program]
