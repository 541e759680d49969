"""Dialogue to tokens in Qwen2.5-VL's chat form, and sampled tokens back to text.

Pieces are encoded one by one and concatenated, so what was sampled is never encoded again:

    <|im_start|>system\\n...<|im_end|>\\n<|im_start|>user\\n<|vision_start|>[image]<|vision_end|>...<|im_end|>\\n<|im_start|>assistant\\n   prompt
    <think>...```<|im_end|>                                                                                                  response
    \\n<|im_start|>user\\n<|vision_start|>[image]<|vision_end|>...<|im_end|>\\n<|im_start|>assistant\\n                                feedback

Special tokens come only from this frame. Text is encoded by a tokenizer that knows none of them, so a special token spelled out in a
message or in an error log becomes ordinary text. S counts tokens.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from recoder_jax.dialogue.images import FACTOR, ImageProcessor, Patches, check_image
from recoder_jax.dialogue.turns import Message, Prompts, feedback

SYSTEM = 'You are a helpful assistant.'
SHIPPED = ('tiny', 'tiny_svg')  # tokenizers of tiny policies, by what they write: python programs, SVG documents
ROLES = ('system', 'user', 'assistant')
START, END, PAD = '<|im_start|>', '<|im_end|>', '<|endoftext|>'
VISION_START, VISION_END, IMAGE = '<|vision_start|>', '<|vision_end|>', '<|image_pad|>'


@dataclass(frozen=True, eq=False)
class Tokens:
    """A piece of a dialogue: ids int32 [S]; images in order, each standing at a run of `image.merged` image ids."""

    ids: np.ndarray
    images: tuple[Patches, ...] = ()

    def __add__(self, other: 'Tokens') -> 'Tokens':
        return Tokens(np.concatenate([self.ids, other.ids]), self.images + other.images)

    def __len__(self) -> int:
        return len(self.ids)


def tokenizer_directory(name_or_path: str | Path) -> Path:
    """Where a tokenizer's files are: 'tiny' and 'tiny_svg' ship with the package, anything else is a directory."""
    return Path(__file__).with_name(f'{name_or_path}_tokenizer') if str(name_or_path) in SHIPPED else Path(name_or_path)


def load_tokenizer(name_or_path: str | Path) -> Tokenizer:
    """'tiny' and 'tiny_svg' are the tokenizers that ship with the package; anything else is a local directory that holds a tokenizer.json.

    Raises FileNotFoundError when the file is not there, ValueError when it cannot be read as a tokenizer.
    """
    file = tokenizer_directory(name_or_path) / 'tokenizer.json'
    if not file.is_file():
        raise FileNotFoundError(f"there is no {str(file)!r}; give 'tiny', 'tiny_svg' or a directory in Hugging Face form with a tokenizer.json")
    try:
        return Tokenizer.from_str(file.read_text(encoding='utf-8'))
    except Exception as error:  # the tokenizers library raises bare Exception
        raise ValueError(f'{str(file)!r} is not a tokenizer file ({error}); copy it again') from None


class Encoder:
    """Tokenizer, chat template and image processor in one.

    end_id: <|im_end|>, ends a message. pad_id: <|endoftext|>. image_id: stands for one merged 2x2 patch block. vocab_size: ids the
    tokenizer knows, special ones included. Raises ValueError when the tokenizer lacks one of Qwen's special tokens, or would make
    one out of plain text.
    """

    def __init__(self, tokenizer: Tokenizer, processor: ImageProcessor):
        self.processor = processor
        self.start_id, self.end_id, self.pad_id, self.vision_start_id, self.vision_end_id, self.image_id = (
            _special_id(tokenizer, token) for token in (START, END, PAD, VISION_START, VISION_END, IMAGE)
        )
        self.vocab_size = 1 + max(tokenizer.get_vocab(with_added_tokens=True).values())
        self._added = frozenset(tokenizer.get_added_tokens_decoder())
        self._plain = _without_added_tokens(tokenizer)

    def prompt(self, messages: Sequence[Message]) -> Tokens:
        """The dialogue so far, with the default system message unless the first one is a system message, up to the header of
        the answer. Raises ValueError for an empty dialogue, an unknown role, content that is neither text nor image."""
        if not messages:
            raise ValueError('the dialogue has no message; begin it with opening(image, prompts)')
        writer = _Writer(self)
        if messages[0].role != 'system':
            writer.message(Message('system', (SYSTEM,)))
        for message in messages:
            writer.message(message)
        writer.header('assistant')
        return writer.tokens()

    def response(self, text: str) -> Tokens:
        """The ids of a given response text and <|im_end|> (for supervised data; sampled responses keep their own ids)."""
        return Tokens(np.array([*self.encode(text), self.end_id], np.int32))

    def feedback(self, message: Message) -> Tokens:
        """What stands between the <|im_end|> of a response and the next response: the user message and the header."""
        writer = _Writer(self)
        writer.text('\n')
        writer.message(message)
        writer.header('assistant')
        return writer.tokens()

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; never a special id. Text that cannot be UTF-8 (lone surrogates) is replaced by '?'."""
        return self._plain.encode(text.encode('utf-8', 'replace').decode('utf-8'), add_special_tokens=False).ids

    def decode(self, ids: Iterable[int]) -> str:
        """Text of sampled ids; special ids and ids beyond the vocabulary are left out, broken UTF-8 becomes U+FFFD."""
        kept = [int(i) for i in ids if 0 <= int(i) < self.vocab_size and int(i) not in self._added]
        return self._plain.decode(kept, skip_special_tokens=False)

    def spelling(self) -> list[bytes]:
        """Bytes of each id below vocab_size, whose concatenation `decode` reads as UTF-8; none for special ids and for those that the
        tokenizer does not know."""
        found = [b''] * self.vocab_size
        for piece, token_id in self._plain.get_vocab(with_added_tokens=True).items():
            if token_id not in self._added:
                found[token_id] = _bytes_of(piece)
        return found

    def forbidden_ids(self, vocab_size: int) -> np.ndarray:
        """int32 [F], ascending: ids below `vocab_size` (rows of the policy's output) that must not be sampled: special and added
        ids but <|im_end|>, and ids the tokenizer does not know. Raises ValueError when the output has fewer rows than ids."""
        if vocab_size < self.vocab_size:
            raise ValueError(f'the policy has {vocab_size} output rows but the tokenizer {self.vocab_size} ids; set the vocabulary to at least that')
        known = set(self._plain.get_vocab(with_added_tokens=True).values()) - self._added
        return np.array(sorted(set(range(vocab_size)) - known - {self.end_id}), np.int32)


def bounded_feedback(
    encoder: Encoder, render: np.ndarray | None, log: str, prompts: Prompts, limit: int, target: np.ndarray | None = None
) -> Tokens:
    """The feedback after a response in at most `limit` tokens, with the differences from `target` where one is given and both pictures fit.

    A render that is too long for the image processor, or that takes more tokens, is told as an error; an error log is cut to its end
    until it fits. Raises ValueError when the request without a log takes more, or when `render` is no image.
    """
    if render is not None:
        check_image(render)
        height, width = render.shape[:2]
        sized = _has_size(encoder.processor, height, width)
        if sized and target is not None:
            shown = encoder.feedback(feedback(render, log, prompts, target))
            if len(shown) <= limit:
                return shown
        shown = encoder.feedback(feedback(render, log, prompts)) if sized else None
        if shown is not None and len(shown) <= limit:
            return shown
        log = f'the figure is {width} x {height} pixels, too {"long" if shown is None else "large"} to be shown'
    while True:
        piece = encoder.feedback(feedback(None, log, prompts))
        if len(piece) <= limit:
            return piece
        if not log:
            raise ValueError(f'a feedback takes {len(piece)} tokens but may take {limit}; raise rollout.feedback_tokens')
        log = log if prompts.log_characters > 1 else ''
        prompts = replace(prompts, log_characters=max(1, prompts.log_characters * 3 // 4))


def check_difference(encoder: Encoder, prompts: Prompts, limit: int) -> None:
    """Raises ValueError where a render and its difference of the largest size, with their text, may take more than `limit` tokens."""
    text = len(encoder.feedback(Message('user', (prompts.compare,))))
    pictures = 2 * (encoder.processor.max_pixels // FACTOR**2 + 2)  # each between two tokens that frame it
    needed = 1 + pictures + text  # 1: a response that was cut is closed first
    if needed > limit:
        raise ValueError(f'a feedback with a render and its difference may take {needed} tokens but rollout.feedback_tokens is {limit}; '
                         'raise it, lower image.max_pixels, or set rollout.difference to False')


def _has_size(processor: ImageProcessor, height: int, width: int) -> bool:
    """Whether the processor takes an image of this size."""
    try:
        processor.size(height, width)
    except ValueError:
        return False
    return True


class _Writer:
    """Collects ids and images of a dialogue."""

    def __init__(self, encoder: Encoder):
        self._encoder = encoder
        self._ids: list[int] = []
        self._images: list[Patches] = []
        self._text = ''

    def text(self, text: str):
        # adjacent texts are one stretch for the tokenizer, as they are in the template
        self._text += text

    def special(self, token_id: int, times: int = 1):
        if self._text:
            self._ids += self._encoder.encode(self._text)
            self._text = ''
        self._ids += [token_id] * times

    def header(self, role: str):
        if role not in ROLES:
            raise ValueError(f'the message role is {role!r}; use one of {", ".join(ROLES)}')
        self.special(self._encoder.start_id)
        self.text(f'{role}\n')
        if role == 'assistant':
            # a response is sampled after this header, so it never shares a token with it
            self._ids += self._encoder.encode(self._text)
            self._text = ''

    def message(self, message: Message):
        self.header(message.role)
        for part in message.content:
            if isinstance(part, str):
                self.text(part)
            else:
                patches = self._encoder.processor(part)
                self.special(self._encoder.vision_start_id)
                self.special(self._encoder.image_id, patches.merged)
                self.special(self._encoder.vision_end_id)
                self._images.append(patches)
        self.special(self._encoder.end_id)
        self.text('\n')

    def tokens(self) -> Tokens:
        return Tokens(np.array(self._ids, np.int32), tuple(self._images))


def _byte_letters() -> dict[str, int]:
    """The byte that each letter of a byte-level vocabulary stands for: printable Latin-1 for itself, the other bytes from U+0100 on."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + n): byte for n, byte in enumerate(others)}


_BYTES = _byte_letters()


def _bytes_of(piece: str) -> bytes:
    """Bytes of an entry of a byte-level vocabulary; an entry with another letter stands for itself."""
    try:
        return bytes(_BYTES[letter] for letter in piece)
    except KeyError:
        return piece.encode('utf-8')


def _special_id(tokenizer: Tokenizer, token: str) -> int:
    found = tokenizer.token_to_id(token)
    if found is None:
        raise ValueError(f'the tokenizer has no {token}; use the tokenizer of a Qwen2.5-VL checkpoint')
    return found


def _without_added_tokens(tokenizer: Tokenizer) -> Tokenizer:
    """The same tokenizer with its added tokens taken out, so that no text can spell one."""
    state = json.loads(tokenizer.to_str())
    state['added_tokens'] = []
    state['truncation'] = state['padding'] = None
    plain = Tokenizer.from_str(json.dumps(state))
    for token_id, token in tokenizer.get_added_tokens_decoder().items():
        if token_id in plain.encode(token.content, add_special_tokens=False).ids:
            raise ValueError(f'the tokenizer turns the plain text {token.content!r} into its special token; take that token out of its merges')
    return plain
