"""The trusted side's way from the frame of a program to an Execution: its form, then its replay.

The replayer is a process of its own because the list it draws comes from a program: a list that crashes or hangs a
renderer ends that process. Its answer passes the same gates as the frame of a program.

    request   8 bytes length, draw list
    answer    8 bytes length, 4 bytes length of a header, header (JSON), pixels
"""

import json
import signal
import socket
import time
from dataclasses import replace

from recoder_jax.charts.chartmimic import ChartMimicElements
from recoder_jax.charts.elements import Elements
from recoder_jax.charts.execution import Execution, Limits, Status, failure
from recoder_jax.charts.frames import (
    MAX_HEADER, MAX_REASON, Ending, Frame, early_end, max_frame, parse_frame, pixels_of)

MODES = ('required', 'preferred', 'off')


class ReplayerLost(Exception):
    """The replayer died or did not answer; another one may answer."""


class Reader:
    """Turns the frame and the ending of a process into an Execution. Not thread-safe: one lane owns it."""

    def __init__(self, limits: Limits, replay: str, elements: bool = True):
        """replay: 'required', 'preferred' or 'off', as `sandbox.Sandbox` takes it; ValueError for another word.
        elements: whether pixels come with elements."""
        if replay not in MODES:
            raise ValueError(f'replay {replay!r} is unknown; use one of {", ".join(MODES)}')
        self._limits = limits
        self._replay = replay
        self._elements = elements
        self._socket: socket.socket | None = None

    def attach(self, sock: socket.socket) -> None:
        """Uses the connected socket of a replayer from here on."""
        self.close()
        self._socket = sock

    def close(self) -> None:
        """Lets go of the replayer, which then ends."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def read(self, frame: bytes, ending: Ending) -> Execution:
        """The execution; ReplayerLost when the replayer died or did not answer in time, and nothing else."""
        seconds = ending.seconds
        end = early_end(ending, self._limits)
        if not self._elements and ending.code == -signal.SIGABRT and not ending.late:
            end = Status.memory, 'the renderer gave its process up, as it does when it gets no memory'
        if end is not None:
            return failure(*end, seconds)
        if len(frame) > max_frame(self._limits):
            return failure(Status.output, 'the result of the program is over its cap', seconds)
        try:
            parsed = parse_frame(frame, self._limits, self._elements)
            chartmimic = None if parsed.chartmimic is None else ChartMimicElements.from_json(parsed.chartmimic)
        except ValueError as error:
            return _malformed(str(error), seconds)
        if parsed.status is not Status.ok:
            return failure(parsed.status, parsed.log, seconds, parsed.tampered)
        execution = self._replayed(parsed, seconds) if parsed.draw_list is not None else self._claimed(parsed, seconds)
        return replace(execution, chartmimic=chartmimic) if execution.ok else execution

    def _claimed(self, frame: Frame, seconds: float) -> Execution:
        """The pixels and elements of the process itself, where the mode takes them."""
        if self._replay == 'required':
            reason = frame.reason or 'it came without a draw list'
            return failure(Status.output, f'the figure cannot be replayed: {reason}', seconds, frame.tampered)
        return Execution(Status.ok, frame.pixels, frame.elements, '', seconds, tampered=frame.tampered,
                         phases=frame.phases)

    def _replayed(self, frame: Frame, seconds: float) -> Execution:
        if self._socket is None:
            raise ReplayerLost('no replayer is attached')
        start = time.perf_counter()
        answer = self._ask(frame.draw_list)
        try:
            length = int.from_bytes(answer[:4], 'little')
            header = json.loads(bytes(answer[4:4 + length]))
            if header['end'] == 'malformed':
                return _malformed(str(header['reason'])[:MAX_REASON], seconds)
            if header['end'] != 'ok':
                return failure(Status.output, f'the figure cannot be replayed: {str(header["reason"])[:MAX_REASON]}',
                               seconds, frame.tampered)
            pixels = pixels_of(memoryview(answer)[4 + length:], header, self._limits)
            elements = Elements.from_json(header['elements'])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            self.close()
            raise ReplayerLost(f'the answer of the replayer is malformed: {error}'[:MAX_REASON]) from None
        phases = replace(frame.phases, replay=time.perf_counter() - start)
        return Execution(Status.ok, pixels, elements, '', seconds, replayed=True, tampered=frame.tampered,
                         phases=phases)

    def _ask(self, draw_list: memoryview) -> bytearray:
        """The answer to a draw list; closes the socket before ReplayerLost, since an answer may still come."""
        deadline = time.monotonic() + self._limits.seconds
        try:
            self._socket.settimeout(self._limits.seconds)
            self._socket.sendall(len(draw_list).to_bytes(8, 'little'))
            self._socket.sendall(draw_list)
            size = int.from_bytes(self._receive(8, deadline), 'little')
            if not 4 <= size <= 4 + MAX_HEADER + 3 * self._limits.pixels:
                raise OSError(f'an answer of {size} bytes')
            return self._receive(size, deadline)
        except OSError as error:
            self.close()
            raise ReplayerLost(f'the replayer did not answer: {error}') from error

    def _receive(self, size: int, deadline: float) -> bytearray:
        answer = bytearray(size)
        rest = memoryview(answer)
        while rest:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            count = self._socket.recv_into(rest)
            if not count:
                raise OSError('it ended')
            rest = rest[count:]
        return answer


def _malformed(reason: str, seconds: float) -> Execution:
    sentence = f'the result of the program is malformed: {reason}'[:MAX_REASON]
    return failure(Status.forbidden, sentence, seconds, sentence)
