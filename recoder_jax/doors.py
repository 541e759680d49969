"""What all doors share: options that config flags do not know, and one clear sentence with exit code 2 for bad input."""

import os
import sys
from collections.abc import Callable

TRACEBACK = "RECODER_TRACEBACK"


def door(main: Callable[[list[str]], None], arguments: list[str], usage: str) -> int:
    """Run a door and return its exit code: 0, 2 for bad input (one sentence on stderr), 130 when interrupted.

    With the environment variable RECODER_TRACEBACK set, errors keep their traceback.
    """
    if any(argument in ("-h", "--help") for argument in arguments):
        print(usage.strip())
        return 0
    try:
        main(arguments)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        if os.environ.get(TRACEBACK):
            raise
        print(f"error: {sentence(error)}", file=sys.stderr)
        return 2
    return 0


def sentence(error: BaseException) -> str:
    """The message of an error on one line."""
    text = " ".join(str(error).split())
    return text if not isinstance(error, OSError) or not error.strerror else f"{error.strerror}: {error.filename}"


def take_option(arguments: list[str], name: str, usage: str, default: str | None = None) -> tuple[str, list[str]]:
    """The value of `--name=value` or `--name value`, and the other arguments. Without a default it must be given."""
    rest, value, position = [], default, 0
    while position < len(arguments):
        argument = arguments[position]
        if argument == name and position + 1 < len(arguments):
            value, position = arguments[position + 1], position + 1
        elif argument.startswith(name + "="):
            value = argument[len(name) + 1 :]
        else:
            rest.append(argument)
        position += 1
    if not value:
        raise ValueError(f"{name} is missing; usage: {' '.join(usage.split())}")
    return value, rest
