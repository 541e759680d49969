"""What all doors share: one clear sentence and exit code 2 for bad input, without a traceback."""

import gc
import os
import sys
from collections.abc import Callable

TRACEBACK = "RECODER_TRACEBACK"
AGAIN = os.EX_TEMPFAIL  # 75: exit code of a door that a launcher starts again with the same command


class Ended(Exception):
    """A door ends before its work is done, in order: one sentence for stderr and the exit code."""

    def __init__(self, sentence: str, code: int):
        super().__init__(sentence)
        self.code = code


def door(name: str, action: Callable[[], None]) -> int:
    """Run what a door does and return its exit code: 0, 2 for bad input (one sentence on stderr), 130 when interrupted, that of an `Ended`.

    Bad input is a ValueError, an OSError, or one of the errors of jax that a setting mends; any other error is raised. With the
    environment variable RECODER_TRACEBACK set, bad input keeps its traceback too.
    """
    gc.set_threshold(10_000, 20, 50)  # jax traces in small objects that live on: at Python's 700 a seventh of a warm start is collecting
    try:
        action()
    except KeyboardInterrupt:
        print(f"{name}: interrupted; run the same command again", file=sys.stderr)
        return 130
    except Ended as end:
        print(f"{name}: {end}", file=sys.stderr)
        return end.code
    except Exception as error:
        said = sentence(error)
        if said is None or os.environ.get(TRACEBACK):
            raise
        print(f"{name}: {said}", file=sys.stderr)
        return 2
    return 0


def sentence(error: BaseException) -> str | None:
    """What a user is told of an error, on one line; None for an error that no input or setting mends."""
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    if isinstance(error, (ValueError, OSError)):
        return text or type(error).__name__
    # named, not imported: the doors that need no jax start without it
    if type(error).__name__ in ("JaxRuntimeError", "XlaRuntimeError") and "RESOURCE_EXHAUSTED" in text:
        return "out of device memory: lower batch.rows, batch.row_tokens or rollout.charts"
    if isinstance(error, RuntimeError) and text.startswith(("Unable to initialize backend", "Unknown backend")):
        return f"jax finds no device: {text}"
    return None
