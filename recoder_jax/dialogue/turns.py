"""Messages of a dialogue: the opening, and the feedback that follows a response.

An image in a message is an array uint8 [H, W, 3] (H rows, W columns). Text that comes from outside (an error log) stays text:
the encoder never turns it into special tokens.
"""

from dataclasses import dataclass, replace

import numpy as np

from recoder_jax.dialogue.difference import difference
from recoder_jax.languages.language import Language
from recoder_jax.languages.python import LANGUAGE as PYTHON

LOG_SLOT = '{log}'
FOLLOW = 'Think in <think></think>. Then write one python block that does this with matplotlib.'  # after an instruction
REVISE = 'This is the render of your program. Find what is not as asked. Write the corrected program.'  # where the target is hidden


@dataclass(frozen=True)
class Message:
    """One message: `role` is 'system', 'user' or 'assistant'; `content` holds texts and images in reading order."""

    role: str
    content: tuple[str | np.ndarray, ...]


@dataclass(frozen=True)
class Prompts:
    """Texts the user side of a dialogue is written with.

    draw: asks for the first program, after the target image. revise: after the render of a program that ran. compare: after the render and
    a picture of its differences from the target, which it explains. repair: after a program that failed; `{log}` is replaced by the end of
    its error log, at most `log_characters` long.
    Raises ValueError when `repair` has no `{log}` or `log_characters` is below 1.
    """

    draw: str = PYTHON.draw
    revise: str = 'This is the render of your program. Find the differences. Write the corrected program.'
    compare: str = (
        'This is the render of your program. In the second picture blue is missing, red is too much, green has another color. '
        'Write the corrected program.'
    )
    repair: str = 'Your program failed:\n{log}\nWrite the corrected program.'
    log_characters: int = 400

    def __post_init__(self):
        if LOG_SLOT not in self.repair:
            raise ValueError(f'the repair prompt {self.repair!r} has no {LOG_SLOT}; put {LOG_SLOT} where the error log belongs')
        if self.log_characters < 1:
            raise ValueError(f'log_characters is {self.log_characters}; it must be at least 1')


def prompts_of(language: Language) -> Prompts:
    """The texts of dialogues in a language: the request for the first program is its own, the others name no language."""
    return Prompts(draw=language.draw)


def opening(image: np.ndarray, prompts: Prompts, instruction: str = '') -> tuple[Message, ...]:
    """The messages before turn 1: the target chart (uint8 [H, W, 3]) and the request to draw it, or a reference and an instruction."""
    return (Message('user', (image, f'{instruction.rstrip()}\n{FOLLOW}' if instruction else prompts.draw)),)


def revising(prompts: Prompts, instruction: str) -> Prompts:
    """The texts of feedback in a dialogue that opened with an instruction, '' for none."""
    return replace(prompts, revise=REVISE) if instruction else prompts


def feedback(render: np.ndarray | None, log: str, prompts: Prompts, target: np.ndarray | None = None) -> Message:
    """The message after a response: the render (uint8 [H, W, 3]) if the program drew one, else the end of its error log.

    target: uint8 [H', W', 3]; where it is given, a picture of the differences follows the render.
    """
    if render is not None and target is not None:
        return Message('user', (render, difference(render, target), prompts.compare))
    if render is not None:
        return Message('user', (render, prompts.revise))
    return Message('user', (prompts.repair.replace(LOG_SLOT, trim_log(log, prompts.log_characters)),))


def trim_log(log: str, limit: int) -> str:
    """The last whole lines of `log` that fit into `limit` characters.

    A traceback names the error in its last line, so that line is kept even when its own end has to be cut.
    """
    kept, left = [], limit
    for line in reversed(log.strip().split('\n')):
        if kept and len(line) + 1 > left:
            break
        kept.append(line[:left])
        left -= len(kept[-1]) + 1
        if left <= 0:
            break
    return '\n'.join(reversed(kept))
