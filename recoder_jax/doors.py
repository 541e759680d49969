"""What all doors share: one clear sentence and exit code 2 for bad input, without a traceback."""

import os
import sys
from collections.abc import Callable

TRACEBACK = "RECODER_TRACEBACK"


def door(name: str, action: Callable[[], None]) -> int:
    """Run what a door does and return its exit code: 0, 2 for bad input (one sentence on stderr), 130 when interrupted.

    With the environment variable RECODER_TRACEBACK set, errors keep their traceback.
    """
    try:
        action()
    except KeyboardInterrupt:
        print(f"{name}: interrupted; run the same command again", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        if os.environ.get(TRACEBACK):
            raise
        print(f"{name}: {sentence(error)}", file=sys.stderr)
        return 2
    return 0


def sentence(error: BaseException) -> str:
    """The message of an error on one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())
