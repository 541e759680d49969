"""The process that replays draw lists. It never ran a program; what it reads was written by one.

Started by the fork server, confined, one request at a time. It ends itself when a list takes longer than the limits
allow, also inside Agg: an alarm without a handler ends a process wherever it is.
"""

import json
import signal
import socket

from matplotlib.mathtext import MathTextParser

from recoder_jax.charts.execution import Limits
from recoder_jax.charts.frames import MAX_BODY, MAX_REASON
from recoder_jax.charts.operations import Malformed, Unreplayable
from recoder_jax.charts.replay import mathtext_parser, replay

_GRACE_SECONDS = 1.0         # beyond the deadline of the reader


def serve(sock: socket.socket, limits: Limits) -> None:
    """Answers draw lists until the socket closes. Requests and answers have the form that `reader` states."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    parser = mathtext_parser()
    while (head := _receive(sock, 8)) is not None:
        size = int.from_bytes(head, 'little')
        if size > MAX_BODY:
            return
        signal.setitimer(signal.ITIMER_REAL, limits.seconds + _GRACE_SECONDS)
        body = _receive(sock, size)
        if body is None:
            return
        header, pixels = _answer(body, limits, parser)
        encoded = json.dumps(header).encode()
        sock.sendall((4 + len(encoded) + len(pixels)).to_bytes(8, 'little') + len(encoded).to_bytes(4, 'little'))
        sock.sendall(encoded)
        sock.sendall(pixels)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _answer(body: bytearray, limits: Limits, parser: MathTextParser) -> tuple[dict, memoryview]:
    try:
        result = replay(body, limits.pixels, parser)
    except Malformed as error:
        return {'end': 'malformed', 'reason': str(error)[:MAX_REASON]}, memoryview(b'')
    except Unreplayable as error:
        return {'end': 'unreplayable', 'reason': str(error)[:MAX_REASON]}, memoryview(b'')
    except MemoryError:
        return {'end': 'unreplayable', 'reason': 'it takes more memory than allowed'}, memoryview(b'')
    height, width, _ = result.pixels.shape
    header = {'end': 'ok', 'height': height, 'width': width, 'elements': result.elements.to_json()}
    return header, memoryview(result.pixels.reshape(-1))


def _receive(sock: socket.socket, size: int) -> bytearray | None:
    """That many bytes; None when the socket closed before."""
    parts = bytearray(size)
    rest = memoryview(parts)
    while rest:
        count = sock.recv_into(rest)
        if not count:
            return None
        rest = rest[count:]
    return parts
