"""Asking one question until there is a judgement: attempts, pauses, other servers, a deadline, and a name for every failure.

    turn of a server ──► post ──► points                                   Judgement
          ▲                ├──► 429, 503 with Retry-After: the server rests ──┐
          │                ├──► timeout, 5xx, no connection, no points ───────┤ counts as an attempt
          │                ├──► 401, 403, 404: another server ────────────────┤ counts as an attempt
          └────────────────┼──────────────────────────────────────────────────┘
                           └──► 400, 413, ...                              failure
"""

import asyncio
import email.utils
import json
import math
import random
import time
from dataclasses import dataclass, field

import openai

from recoder_jax.rewards.judge_forms import Sheet
from recoder_jax.rewards.judge_options import JudgeOptions
from recoder_jax.rewards.judge_prompt import AGAIN_TEMPERATURE
from recoder_jax.rewards.judge_servers import NoServer, Server, Servers
from recoder_jax.rewards.judgement import FailureKind, Judgement, failed

_REPLY_BYTES = 1_000_000       # a body that is longer is no reply of a judge
_LONGEST_PAUSE = 30.0          # seconds between two attempts
_NO_SCHEMA = (400, 415, 422, 501)       # how servers refuse a reply format they do not have
_NOT_HERE = (401, 403, 404)             # the server's own trouble: key, model or path


@dataclass
class _Course:
    """How asking one question goes. attempts: made, but for those that were told to wait. waits: those. began: when the first turn
    came, 0 before. refused: by whom, for a reason of the server's own."""

    attempts: int = 0
    waits: int = 0
    began: float = 0.0
    temperature: float = 0.0
    kind: FailureKind = FailureKind.timeout
    last: str = 'no attempt ended'
    avoid: Server | None = None
    refused: set[Server] = field(default_factory=set)


class _TryAgain(Exception):
    """An attempt failed for a reason that may pass, or that another server may not share.

    blame: whether it speaks against the server.
    """

    def __init__(self, kind: FailureKind, reason: str, blame: bool = True):
        super().__init__(reason)
        self.kind, self.blame = kind, blame


class _Wait(_TryAgain):
    """A server asked for patience. seconds: how much, None where it does not say."""

    def __init__(self, reason: str, seconds: float | None):
        super().__init__(FailureKind.overloaded, reason, blame=False)
        self.seconds = seconds


class _GiveUp(Exception):
    """The question cannot be answered. blame: whether it speaks against the server."""

    def __init__(self, kind: FailureKind, sentence: str, blame: bool = False):
        super().__init__(sentence)
        self.kind, self.blame = kind, blame


class Asker:
    """Puts questions to servers. hidden: the key, which no sentence may repeat; '' for none."""

    def __init__(self, options: JudgeOptions, servers: Servers, hidden: str):
        self._options, self._servers, self._hidden = options, servers, hidden
        self._jitter = random.Random(0)      # spreads retries; decides no result

    async def ask(self, sheet: Sheet) -> Judgement:
        """A judgement or a failure, within queue_seconds and seconds of the options together."""
        options, course = self._options, _Course()
        try:
            async with asyncio.timeout(options.queue_seconds) as limit:
                while course.attempts < options.attempts:
                    judgement = await self._attempt(sheet, course, limit)
                    if judgement is not None:
                        return judgement
        except _GiveUp as end:
            return failed(end.kind, str(end))
        except TimeoutError:
            return self._late(course)
        return failed(course.kind, f'the judge failed {options.attempts} times, lastly: {course.last}; check the server')

    def _late(self, course: _Course) -> Judgement:
        if not course.began:
            return failed(FailureKind.queued, f'the question waited for {self._options.queue_seconds:g} s and was not asked; '
                          'raise judge.concurrency or judge.queue_seconds, or add servers to judge.base_url')
        kind = FailureKind.overloaded if course.kind is FailureKind.overloaded else FailureKind.timeout
        return failed(kind, f'the judge gave no judgement within {self._options.seconds:g} s ({course.last}); '
                      'raise judge.seconds or use a faster server')

    async def _attempt(self, sheet: Sheet, course: _Course, limit: asyncio.Timeout) -> Judgement | None:
        """Asks one server once and pauses where that is due; None when the question is to be asked again."""
        avoid = course.refused | ({course.avoid} - {None})
        try:
            server = await self._servers.take(first=not course.began, avoid=avoid)
        except NoServer as error:
            self._begin(course, limit)
            if error.kind is FailureKind.refused:      # a wrong key or model stays wrong
                raise _GiveUp(error.kind, str(error)) from error
            trouble, server = _TryAgain(error.kind, str(error)), None
        else:
            self._begin(course, limit)
            try:
                return await self._ask(server, sheet, course)
            except _TryAgain as error:
                trouble = error
        course.kind, course.last, course.avoid = trouble.kind, str(trouble), server
        if isinstance(trouble, _Wait):
            course.waits += 1
        else:
            course.attempts += 1
        rests = isinstance(trouble, _Wait) and trouble.seconds is not None      # then its turn comes no earlier anyway
        if not rests and trouble.kind is not FailureKind.refused and course.attempts < self._options.attempts:
            pause = self._options.first_pause * 2 ** min(30, course.attempts + course.waits - 1)
            await asyncio.sleep(min(_LONGEST_PAUSE, pause) * self._jitter.uniform(1, 1.5))
        return None

    def _begin(self, course: _Course, limit: asyncio.Timeout) -> None:
        if not course.began:
            course.began = asyncio.get_running_loop().time()
            limit.reschedule(course.began + self._options.seconds)

    async def _ask(self, server: Server, sheet: Sheet, course: _Course) -> Judgement:
        """One attempt, after which the server is given back. Raises _TryAgain or _GiveUp."""
        trouble = None
        try:
            async with asyncio.timeout(self._options.attempt_seconds):
                text, tokens = await self._post(server, sheet, course)
        except asyncio.CancelledError:      # the deadline of the question
            trouble = _TryAgain(FailureKind.timeout, 'no reply in time')
            raise
        except Exception as error:
            trouble = self._trouble(error, server, course)
            raise trouble from error
        finally:
            if trouble is not None and trouble.blame:
                server.trouble = trouble.kind, str(trouble)
            self._servers.give(server, well=trouble is None or not trouble.blame)
        points = sheet.form.read(text)
        if points is None:
            course.temperature = AGAIN_TEMPERATURE
            shown = repr(self._clean(text)[:80])
            raise _TryAgain(FailureKind.unusable, f'the reply holds no {sheet.form.sought}: {shown}', blame=False)
        seconds = asyncio.get_running_loop().time() - course.began
        return Judgement(sum(points.values()) / sheet.form.most, points, seconds=seconds, prompt_tokens=tokens[0], reply_tokens=tokens[1])

    def _clean(self, text: str) -> str:
        return text.replace(self._hidden, '***') if self._hidden else text

    async def _post(self, server: Server, sheet: Sheet, course: _Course) -> tuple[str, tuple[int, int]]:
        """Text of the reply and tokens of question and reply. A server that refuses a schema is asked without, from then on."""
        asked = {'model': self._options.model, 'messages': sheet.messages(), 'seed': course.attempts,
                 'temperature': course.temperature, 'max_tokens': self._options.reply_tokens}
        if sheet.form.schema is None or not self._options.structured or server.structured is False:
            return await _completion(server, asked)
        try:
            reply = await _completion(server, asked | {'response_format': sheet.form.schema})
        except openai.APIStatusError as error:
            if error.status_code not in _NO_SCHEMA:
                raise
            reply = await _completion(server, asked)
            server.structured = False
        return reply

    def _trouble(self, error: Exception, server: Server, course: _Course) -> '_TryAgain | _GiveUp':
        """What an error of an attempt means for the question."""
        if isinstance(error, openai.APIStatusError):
            return self._status_trouble(error, server, course)
        if isinstance(error, _TryAgain):
            return _TryAgain(error.kind, str(error))
        name = type(error.__cause__ or error).__name__
        if isinstance(error, TimeoutError) or (isinstance(error, openai.APITimeoutError) and name != 'ConnectTimeout'):
            return _TryAgain(FailureKind.timeout, f'no reply within {self._options.attempt_seconds:g} s')
        if isinstance(error, openai.APIConnectionError):
            return _TryAgain(FailureKind.unreachable, f'the connection failed ({name})')
        # a body that breaks off or has another form raises what it likes
        return _TryAgain(FailureKind.broken, f'the server answered with something that is no completion ({type(error).__name__})')

    def _status_trouble(self, error: openai.APIStatusError, server: Server, course: _Course) -> '_TryAgain | _GiveUp':
        status, reason = error.status_code, f'the server answered with status {error.status_code}'
        patience = retry_after(error.response.headers.get('retry-after'), time.time())
        if status == 429 or (status == 503 and patience is not None):
            self._servers.rest(server, patience or 0.0)
            return _Wait(reason, patience)
        if status in (408, 409) or status >= 500:
            return _TryAgain(FailureKind.broken, reason)
        if status == 413:
            return _GiveUp(FailureKind.too_large, 'the judge finds the images too large (status 413); lower judge.max_pixels')
        if status in _NOT_HERE:
            course.refused.add(server)
            if len(course.refused) < len(self._servers.all):
                return _TryAgain(FailureKind.refused, reason)
        sentence = f'the judge refused the question with status {status}; check the address, the model name and the key'
        return _GiveUp(FailureKind.refused, sentence, blame=status in _NOT_HERE)


async def _completion(server: Server, asked: dict) -> tuple[str, tuple[int, int]]:
    """One request. Raises errors of openai, and ValueError, LookupError, TypeError or AttributeError for a body of another form."""
    body = bytearray()
    async with server.client.chat.completions.with_streaming_response.create(**asked) as response:
        async for chunk in response.iter_bytes():
            body += chunk
            if len(body) > _REPLY_BYTES:
                raise _TryAgain(FailureKind.too_large, f'the reply has more than {_REPLY_BYTES} bytes')
    completion = json.loads(body)
    text = completion['choices'][0]['message']['content']
    if not isinstance(text, str):
        raise TypeError('the reply is no text')
    usage = completion.get('usage')
    usage = usage if isinstance(usage, dict) else {}
    counts = [usage.get(name) for name in ('prompt_tokens', 'completion_tokens')]
    return text, tuple(count if isinstance(count, int) and count > 0 else 0 for count in counts)


def retry_after(header: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or as a date (RFC 9110 section 10.2.3); None when it says nothing."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
