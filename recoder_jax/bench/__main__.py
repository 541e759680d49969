"""Measures speed: `python -m recoder_jax.bench SUBJECT [--json]`.

Subjects: rewards (executing and scoring programs), train (an update, alone or against torch), decode (new tokens, alone or against
transformers), rollout (what sharing prefixes and hiding the host bring), serve (a running server), import (a checkpoint onto a mesh), data (what the
host prepares for SFT).
Prints a table, or one JSON object with --json; progress goes to stderr. Exit code 2 and one sentence for bad
input.
"""

import argparse
import json
import sys

from recoder_jax.bench import decode, feeding, importing, rewards, rollout, serving, train
from recoder_jax.doors import door

# Each module has SUMMARY, add_arguments(parser), measure(options, progress) -> dict for JSON, table(result) -> str.
SUBJECTS = {"rewards": rewards, "train": train, "decode": decode, "rollout": rollout, "serve": serving, "import": importing, "data": feeding}


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m recoder_jax.bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    subjects = parser.add_subparsers(dest="subject", required=True)
    for name, subject in SUBJECTS.items():
        one = subjects.add_parser(name, help=subject.SUMMARY, description=subject.__doc__,
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
        subject.add_arguments(one)
        one.add_argument("--json", action="store_true", help="print one JSON object")
    options, options.overrides = parser.parse_known_args(arguments)
    if options.overrides and "config" not in options:  # subjects with a config read what is left as its overrides
        parser.error(f"unrecognized arguments: {' '.join(options.overrides)}")
    return door("bench", lambda: run(options))


def run(options: argparse.Namespace) -> None:
    """Measures what the options say and prints it."""
    subject = SUBJECTS[options.subject]
    result = subject.measure(options, lambda line: print(line, file=sys.stderr, flush=True))
    print(json.dumps(result) if options.json else subject.table(result))


if __name__ == "__main__":
    sys.exit(main())
