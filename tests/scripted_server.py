"""A chat completions server on loopback that answers from a file: which chart it is asked about, and the turn, decide the response.

    python -m tests.scripted_server ANSWERS.jsonl --port 8001

A line of the file: {"image": key, "responses": ["turn 1", "turn 2", ...]}; key is `image_key` of the chart. After the last response it repeats it.
"""

import argparse
import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from recoder_jax.dialogue.images import decode_image
from tests.fault_server import FaultServer


def image_key(image: np.ndarray) -> str:
    """Of uint8 [H, W, 3]: a hash of its pixels."""
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()[:16]


def write_answers(path: Path, answers: Iterable[tuple[np.ndarray, Sequence[str]]]) -> None:
    """The file, from (chart image, responses)."""
    path.write_text(''.join(json.dumps({'image': image_key(image), 'responses': list(responses)}) + '\n' for image, responses in answers))


def read_answers(path: Path) -> dict[str, list[str]]:
    return {entry['image']: entry['responses'] for entry in map(json.loads, path.read_text().splitlines())}


def answer(answers: Mapping[str, Sequence[str]], body: dict) -> str:
    """The response to a request."""
    images = [part['image_url']['url'] for part in body['messages'][0]['content'] if part['type'] == 'image_url']
    responses = answers[image_key(decode_image(base64.b64decode(images[0].partition(',')[2])))]
    turn = sum(message['role'] == 'assistant' for message in body['messages'])
    return responses[min(turn, len(responses) - 1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('answers', type=Path)
    parser.add_argument('--port', type=int, default=8001)
    options = parser.parse_args()
    answers = read_answers(options.answers)
    server = FaultServer([lambda body: answer(answers, body)], options.port)
    print(server.address, flush=True)
    server.serve_forever()


if __name__ == '__main__':
    main()
