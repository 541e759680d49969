"""Asking an OpenAI-compatible server for the next response of a dialogue: attempts, patience, a deadline, a pace, a name for every failure."""

import asyncio
import base64
import itertools
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import openai

from recoder_jax.dialogue.images import encode_png
from recoder_jax.dialogue.turns import Message
from recoder_jax.rewards.images import bounded
from recoder_jax.rewards.judge_asking import retry_after
from recoder_jax.rewards.judge_options import addresses
from recoder_jax.rewards.judgement import FailureKind

LONGEST_PAUSE = 30.0  # seconds between two attempts
LONGEST_REST = 60.0  # seconds that a server may ask for at a time
_CONNECT_SECONDS = 5.0
_REPLY_BYTES = 8_000_000  # a longer body is no response
_WRONG = (401, 403, 404)  # key, model or address


@dataclass(frozen=True)
class ServerOptions:
    """How to reach a model and what to ask it for.

    Attributes:
      base_url: address up to and with '/v1'; several, separated by commas, take turns.
      model: its name there.
      temperature, response_tokens: of sampling.
      key_variable: environment variable that holds the key; unset is fine for a server that asks for none.
      seconds: a response is given up this long after it was first asked for, attempts and pauses included.
      attempts: times a response is asked for at most; being told to wait (429, or 503 with Retry-After) does not count.
      first_pause: seconds before the second attempt; doubles each time.
      concurrency: responses asked for side by side.
      requests_per_minute: most requests begun in a minute; 0 sets no pace.
      max_pixels: larger images are scaled down before they are sent.
    """

    base_url: str
    model: str
    temperature: float
    response_tokens: int
    key_variable: str = 'OPENAI_API_KEY'
    seconds: float = 300.0
    attempts: int = 4
    first_pause: float = 0.5
    concurrency: int = 16
    requests_per_minute: float = 0.0
    max_pixels: int = 1280 * 28 * 28

    def __post_init__(self):
        addresses(self.base_url)
        if not self.model:
            raise ValueError('the name of the model at the server is empty; give --model NAME')
        for name in ('seconds', 'attempts', 'concurrency', 'first_pause', 'max_pixels', 'response_tokens'):
            if not getattr(self, name) > 0:
                raise ValueError(f'{name} of the server is {getattr(self, name)}; give a number above 0')


class NoResponse(Exception):
    """No response could be had. kind: why."""

    def __init__(self, kind: FailureKind, sentence: str):
        super().__init__(sentence)
        self.kind = kind


class WrongServer(ValueError):
    """The server will take no question at all: the key, the name of the model or the address is wrong."""


class Server:
    """A model behind one or several addresses. Use it on one event loop; `close` ends its connections."""

    def __init__(self, options: ServerOptions):
        timeout = openai.Timeout(options.seconds, connect=min(_CONNECT_SECONDS, options.seconds))
        key = os.environ.get(options.key_variable, '')
        clients = [openai.AsyncOpenAI(base_url=address, max_retries=0, timeout=timeout, api_key=key or 'none') for address in addresses(options.base_url)]
        self._options, self._clients, self._hidden = options, clients, key
        self._turns, self._places, self._next = itertools.cycle(clients), asyncio.Semaphore(options.concurrency), 0.0

    async def close(self) -> None:
        for client in self._clients:
            await client.close()

    async def ask(self, messages: Sequence[Message], seed: int) -> str:
        """The text of the next response. Raises NoResponse, or WrongServer where asking anything is in vain."""
        options, last, attempts = self._options, NoResponse(FailureKind.timeout, 'no attempt ended'), 0
        asked = {'model': options.model, 'messages': chat(messages, options.max_pixels), 'temperature': options.temperature,
                 'max_tokens': options.response_tokens, 'seed': seed}
        try:
            async with self._places, asyncio.timeout(options.seconds):
                while attempts < options.attempts:
                    await self._pace()
                    try:
                        return await self._completion(next(self._turns), asked)
                    except Exception as error:
                        last, rest = self._failure(error)
                        attempts += rest is None
                        if last.kind in (FailureKind.refused, FailureKind.too_large):
                            raise last from error
                    if attempts < options.attempts:
                        await asyncio.sleep(min(LONGEST_PAUSE, options.first_pause * 2 ** min(30, attempts)) if rest is None else rest)
        except TimeoutError:
            raise NoResponse(FailureKind.timeout, f'no response within {options.seconds:g} s ({last})') from None
        raise last

    async def _pace(self) -> None:
        if self._options.requests_per_minute:
            now = asyncio.get_running_loop().time()
            self._next = max(now, self._next) + 60 / self._options.requests_per_minute
            await asyncio.sleep(self._next - 60 / self._options.requests_per_minute - now)

    async def _completion(self, client: openai.AsyncOpenAI, asked: dict) -> str:
        body = bytearray()
        async with client.chat.completions.with_streaming_response.create(**asked) as response:
            async for chunk in response.iter_bytes():
                body += chunk
                if len(body) > _REPLY_BYTES:
                    raise NoResponse(FailureKind.broken, f'the reply has more than {_REPLY_BYTES} bytes')
        text = json.loads(body)['choices'][0]['message']['content']
        if not isinstance(text, str):
            raise TypeError('the reply is no text')
        return text

    def _failure(self, error: Exception) -> tuple[NoResponse, float | None]:
        """What an error of an attempt means, and the seconds the server asked for, None where the attempt counts."""
        if isinstance(error, NoResponse):
            return error, None
        if isinstance(error, openai.APIStatusError):
            return self._status_failure(error)
        if isinstance(error, openai.APITimeoutError | TimeoutError):
            return NoResponse(FailureKind.timeout, 'the attempt took too long'), None
        if isinstance(error, openai.APIConnectionError):
            return NoResponse(FailureKind.unreachable, f'the connection failed ({type(error.__cause__ or error).__name__})'), None
        return NoResponse(FailureKind.broken, f'the server answered with something that is no completion ({type(error).__name__})'), None

    def _status_failure(self, error: openai.APIStatusError) -> tuple[NoResponse, float | None]:
        status, patience = error.status_code, retry_after(error.response.headers.get('retry-after'), time.time())
        sentence = f'the server answered with status {status}'
        if status in _WRONG:
            raise WrongServer(f'{sentence}; check the address, --model and the key in the environment variable {self._options.key_variable}')
        if status == 429 or (status == 503 and patience is not None):
            return NoResponse(FailureKind.overloaded, sentence), min(LONGEST_REST, patience or self._options.first_pause)
        if status in (408, 409) or status >= 500:
            return NoResponse(FailureKind.broken, sentence), None
        kind = FailureKind.too_large if status == 413 else FailureKind.refused
        return NoResponse(kind, f'{sentence}: {self._said(error)}'), None

    def _said(self, error: openai.APIStatusError) -> str:
        text = ' '.join(str(error.message).split())[:200]
        return text.replace(self._hidden, '***') if self._hidden else text


def chat(messages: Sequence[Message], max_pixels: int) -> list[dict]:
    """Messages in the form of chat completions, images as PNG in data addresses, in their order."""
    return [{'role': message.role, 'content': _content(message, max_pixels)} for message in messages]


def _content(message: Message, max_pixels: int) -> str | list[dict]:
    if message.role == 'assistant':
        return ''.join(message.content)
    return [{'type': 'text', 'text': part} if isinstance(part, str) else {'type': 'image_url', 'image_url': {'url': _address(part, max_pixels)}}
            for part in message.content]


def _address(image, max_pixels: int) -> str:
    return 'data:image/png;base64,' + base64.b64encode(encode_png(bounded(image, max_pixels))).decode()
