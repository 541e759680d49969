"""The messages of a request, with images as data. Nothing is fetched: what is not in the request is not looked at."""

import base64
import binascii
import re

from recoder_jax.dialogue.images import MAX_FILE_PIXELS, decode_image
from recoder_jax.dialogue.turns import Message
from recoder_jax.serving.refusals import Refusal, missing, wrong_type, wrong_value

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
DATA = re.compile(r"data:[^,]*;\s*base64\s*,", re.IGNORECASE)
SCHEME = re.compile(r"\s*[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def messages_of(value, most_images: int) -> tuple[Message, ...]:
    """The messages of a JSON array, images decoded as uint8 [H, W, 3]. Raises Refusal."""
    if not isinstance(value, list):
        raise wrong_type("messages", value, "an array of messages")
    if not value:
        raise wrong_value("messages", value, "at least one message")
    images = _Images(most_images)
    return tuple(_message(message, f"messages[{n}]", images) for n, message in enumerate(value))


class _Images:
    """Decodes the images of one request, within bounds for all of them together."""

    def __init__(self, most: int):
        self._left, self._most, self._pixels = most, most, MAX_FILE_PIXELS

    def decode(self, url: str, param: str):
        self._left -= 1
        if self._left < 0:
            raise Refusal(400, f"there are more than {self._most} images; send fewer", "messages", "too_many_images")
        data = _bytes(url, param)
        try:
            image = decode_image(data, f"the image of {param}", self._pixels)
        except ValueError as error:
            raise Refusal(400, str(error), param, "invalid_image") from None
        self._pixels -= image.shape[0] * image.shape[1]
        return image


def _message(value, param: str, images: _Images) -> Message:
    if not isinstance(value, dict):
        raise wrong_type(param, value, "an object with role and content")
    if value.get("role") is None:
        raise missing(f"{param}.role", f"one of {', '.join(ROLES)}")
    if not isinstance(value["role"], str):
        raise wrong_type(f"{param}.role", value["role"], f"one of {', '.join(ROLES)}")
    if value["role"] not in ROLES:
        raise wrong_value(f"{param}.role", value["role"], f"one of {', '.join(ROLES)}")
    for name, field in value.items():
        # clients send an answer back with the empty fields that it came with
        if name not in ("role", "content", "name") and field not in (None, [], {}):
            raise Refusal(400, f"{param}.{name} is not supported; leave it out", f"{param}.{name}", "unsupported_parameter")
    return Message(ROLES[value["role"]], _content(value.get("content"), f"{param}.content", images))


def _content(value, param: str, images: _Images) -> tuple:
    if value is None:
        raise missing(param, "a text or an array of parts")
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list):
        raise wrong_type(param, value, "a text or an array of parts")
    if not value:
        raise wrong_value(param, value, "at least one part")
    return tuple(_part(part, f"{param}[{n}]", images) for n, part in enumerate(value))


def _part(value, param: str, images: _Images):
    if not isinstance(value, dict):
        raise wrong_type(param, value, "an object with a type")
    kind = value.get("type")
    if kind is None:
        raise missing(f"{param}.type", "text or image_url")
    if kind not in ("text", "image_url"):
        raise wrong_value(f"{param}.type", kind, "text or image_url")
    if kind == "text":
        if not isinstance(value.get("text"), str):
            raise missing(f"{param}.text", "a text") if value.get("text") is None else wrong_type(f"{param}.text", value["text"], "a text")
        return value["text"]
    holder, param = value.get("image_url"), f"{param}.image_url"
    if not isinstance(holder, dict):
        raise missing(param, "an object with a url") if holder is None else wrong_type(param, holder, "an object with a url")
    if not isinstance(holder.get("url"), str):
        raise missing(f"{param}.url", "a base64 data URL") if holder.get("url") is None else wrong_type(f"{param}.url", holder["url"], "a base64 data URL")
    return images.decode(holder["url"], f"{param}.url")


def _bytes(url: str, param: str) -> bytes:
    """The bytes of a base64 data URL, or of base64 alone."""
    head = DATA.match(url)
    if not head and SCHEME.match(url):
        sentence = f"{param} is {url[:40]!r}, but the server fetches nothing; send the image itself as data:image/png;base64,..."
        raise Refusal(400, sentence, param, "invalid_image_url")
    try:
        data = base64.b64decode("".join((url[head.end():] if head else url).split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(400, f"{param} is no base64 ({error}); send data:image/png;base64,...", param, "invalid_base64") from None
    if not data:
        raise Refusal(400, f"{param} holds no bytes; send data:image/png;base64,...", param, "invalid_image")
    return data
