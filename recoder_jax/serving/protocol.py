"""A body of POST /v1/chat/completions, read and checked. What would change the answer and is not supported is refused, never left unread."""

import dataclasses
import json
import math

from recoder_jax.dialogue.turns import Message
from recoder_jax.sampling.drawing import Controls
from recoder_jax.serving.messages import messages_of
from recoder_jax.serving.refusals import Refusal, missing, shown, wrong_type, wrong_value

MOST_STOPS, LONGEST_STOP = 4, 1000  # stop strings, and characters of one
COLDEST = 1e-4  # a lower temperature takes the likeliest token, since logits divided by it leave float32

READ = {
    "model", "messages", "n", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "max_tokens", "max_completion_tokens", "stop", "seed",
    "logprobs", "top_logprobs", "stream", "stream_options",
}  # fmt: skip
# fields that do not concern the answer
IGNORED = {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "parallel_tool_calls"}
# fields that would concern it, with the values that leave it as it is
UNSUPPORTED = {
    "frequency_penalty": (0,), "presence_penalty": (0,), "logit_bias": ({},), "tools": ([],), "tool_choice": ("none", "auto"), "functions": ([],),
    "function_call": ("none", "auto"), "response_format": ({"type": "text"},), "modalities": (["text"],), "audio": (), "prediction": (),
    "reasoning_effort": (), "verbosity": (), "web_search_options": (),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Limits:
    """model: its name. rows: most answers of a request. tokens: most of an answer. images: most of a request."""

    model: str
    rows: int
    tokens: int
    images: int


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a client asks for. rows: answers. tokens: cap of each. seed: None where any will do. usage: whether a stream ends with counts."""

    messages: tuple[Message, ...]
    rows: int
    tokens: int
    controls: Controls
    stops: tuple[str, ...]
    seed: int | None
    logprobs: bool
    stream: bool
    usage: bool


def parse(body: bytes, limits: Limits) -> Asked:
    """Raises Refusal for what cannot be answered."""
    fields = _Fields(_json(body))
    model = fields.text("model")
    if model != limits.model:
        raise Refusal(404, f"the model {shown(model)} does not exist; the model here is {limits.model!r}", "model", "model_not_found")
    _check_names(fields.given)
    stream = fields.flag("stream")
    asked = Asked(
        messages=(), rows=fields.whole("n", 1, 1, limits.rows), tokens=_tokens(fields, limits.tokens), controls=_controls(fields),
        stops=_stops(fields.given.get("stop")), seed=fields.whole("seed", None, -(2**63), 2**63 - 1), logprobs=_logprobs(fields), stream=stream,
        usage=_usage(fields, stream),
    )  # fmt: skip
    if "messages" not in fields.given:
        raise missing("messages", "an array of messages")
    # last, since it is the only work
    return dataclasses.replace(asked, messages=messages_of(fields.given["messages"], limits.images))


def _json(body: bytes) -> dict:
    """A JSON object; fields that are null are as if not given."""

    def constant(name: str):
        raise ValueError(f"{name} is no JSON number")

    try:
        value = json.loads(body, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"the body is no JSON ({' '.join(str(error).split())[:100]}); send a JSON object", code="invalid_json") from None
    if not isinstance(value, dict):
        raise Refusal(400, f"the body is {shown(value)}; send a JSON object", code="invalid_json")
    return {name: field for name, field in value.items() if field is not None}


def _check_names(given: dict) -> None:
    for name, value in given.items():
        if name in UNSUPPORTED:
            if value not in UNSUPPORTED[name]:
                raise Refusal(400, f"{name} is not supported; leave it out", name, "unsupported_parameter")
        elif name not in READ and name not in IGNORED:
            raise Refusal(400, f"{shown(name)} is an unknown field; leave it out", name[:60], "unknown_parameter")


class _Fields:
    """Typed fields of a body. Raises Refusal for a value of another type or out of bounds."""

    def __init__(self, given: dict):
        self.given = given

    def text(self, name: str) -> str:
        if name not in self.given:
            raise missing(name, "a text")
        if not isinstance(self.given[name], str):
            raise wrong_type(name, self.given[name], "a text")
        return self.given[name]

    def flag(self, name: str) -> bool:
        value = self.given.get(name, False)
        if not isinstance(value, bool):
            raise wrong_type(name, value, "true or false")
        return value

    def whole(self, name: str, default: int | None, least: int, most: int) -> int | None:
        value, what = self.given.get(name, default), f"a whole number from {least} to {most}"
        if name not in self.given:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong_type(name, value, what)
        if not least <= value <= most:
            raise wrong_value(name, value, what)
        return value

    def number(self, name: str, default: float, least: float, most: float, above: bool = False) -> float:
        """above: `least` itself is out of bounds."""
        value, what = self.given.get(name, default), f"a number {'above' if above else 'from'} {least:g} {'and at most' if above else 'to'} {most:g}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong_type(name, value, what)
        if not least <= value <= most or (above and value == least) or not math.isfinite(value):
            raise wrong_value(name, value, what)
        return float(value)


def _tokens(fields: _Fields, most: int) -> int:
    if "max_tokens" in fields.given and "max_completion_tokens" in fields.given:
        raise Refusal(400, "max_tokens and max_completion_tokens are both given; give one of them", "max_tokens", "invalid_parameter_combination")
    old = fields.whole("max_tokens", most, 1, most)
    return fields.whole("max_completion_tokens", old, 1, most)


def _controls(fields: _Fields) -> Controls:
    temperature = fields.number("temperature", 1.0, 0.0, 2.0)
    return Controls(
        temperature=temperature if temperature >= COLDEST else 0.0, top_p=fields.number("top_p", 1.0, 0.0, 1.0, above=True),
        top_k=max(0, fields.whole("top_k", 0, -1, 2**31 - 1)), min_p=fields.number("min_p", 0.0, 0.0, 1.0),
        penalty=fields.number("repetition_penalty", 1.0, 0.01, 100.0),
    )  # fmt: skip


def _stops(value) -> tuple[str, ...]:
    what = f"a text or up to {MOST_STOPS} texts of 1 to {LONGEST_STOP} characters"
    stops = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise wrong_type("stop", value, what)
    if len(stops) > MOST_STOPS or not all(1 <= len(stop) <= LONGEST_STOP for stop in stops):
        raise wrong_value("stop", value, what)
    return tuple(stops)


def _logprobs(fields: _Fields) -> bool:
    if fields.given.get("top_logprobs", 0) != 0 or isinstance(fields.given.get("top_logprobs"), bool):
        sentence = f"top_logprobs is {shown(fields.given['top_logprobs'])}, but only chosen tokens have log probabilities here; give 0"
        raise Refusal(400, sentence, "top_logprobs", "unsupported_value")
    return fields.flag("logprobs")


def _usage(fields: _Fields, stream: bool) -> bool:
    options = fields.given.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, dict):
        raise wrong_type("stream_options", options, "an object")
    if not stream:
        raise Refusal(400, "stream_options is given without stream; set stream to true or leave it out", "stream_options", "invalid_value")
    for name, value in options.items():
        param = f"stream_options.{name[:60]}"
        if name not in ("include_usage", "include_obfuscation"):
            raise Refusal(400, f"{param} is an unknown field; leave it out", param, "unknown_parameter")
        if not isinstance(value, bool | None):
            raise wrong_type(param, value, "true or false")
    return bool(options.get("include_usage"))
