"""The fork server: imports matplotlib, or the renderer of a language, once, then forks one confined process per program.

Started by `server.ForkServer` as `python -m recoder_jax.charts.worker DESCRIPTOR SETTINGS`, a fresh process with a
scrubbed environment that holds no secret and no golden program. Protocol on the socket DESCRIPTOR:

    out  4 bytes process id, as the process that started this one sees it           once, early
    out  4 bytes length, JSON {"layers": {name: bool}, "tier": name, "error": ""}   once, when ready
    in   b'P', with the descriptor of a result pipe; 4 bytes length, the program in UTF-8
    out  REPLY: exit code or -signal, deadline passed, wall seconds, CPU seconds
    in   b'R', with one end of a socket: end the replayer there is and start one that answers on that socket

The process of the program writes its frame straight into the result pipe; this server never reads it. The server ends
when the socket closes.
"""

import json
import os
import resource
import select
import signal
import site
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from recoder_jax.charts import rendering, warm
from recoder_jax.charts.execution import Limits, Status
from recoder_jax.charts.frames import EXIT_MEMORY, EXIT_RESULT, EXIT_WALLS, REPLY, parse_frame
from recoder_jax.charts.isolation import SCRATCH_FILES, Isolation
from recoder_jax.charts.scratch import empty_directory, holds_more
from recoder_jax.charts.tiers import guest_refusal, refusal
from recoder_jax.languages.language import find

_LOOK_SECONDS = 0.1      # between two looks at a scratch directory without a quota
_GROUP_SECONDS, _GROUP_LOOK = 5.0, 0.002      # a killed process ends at its next return from the kernel
_TRIAL_SECONDS = 60.0    # of the first document of a guest, which nothing is in memory for


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    settings = json.loads(sys.argv[2])
    limits = Limits(**settings['limits'])
    renderer = find(settings['language']).renderer
    guest = renderer and renderer.guest
    isolation = Isolation(limits, settings['scratch'], os.environ['MPLCONFIGDIR'], settings['tier'], guest)
    isolation.confine_server(lambda process: control.sendall(process.to_bytes(4, 'little')))
    os.environ['HOME'] = os.environ['TMPDIR'] = isolation.scratch
    answer = _answerer(settings, limits, isolation)
    _forget_own_source()
    isolation.seal_server(warm.font_folders())
    empty_directory(isolation.scratch)
    os.chdir(isolation.scratch)
    error = refusal(settings['isolation'], isolation.layers, isolation.tier)
    if guest and not error:
        error = guest_refusal(settings['language'], guest.layers, isolation.layers, isolation.tier)
    server = _Server(control, isolation, limits, answer)
    if guest and not error and (why := server.try_out(guest.trial)):
        error = f'programs in {settings["language"]} cannot be rendered by {guest.path()} on this machine: {why}'
    hello = json.dumps({'layers': isolation.layers, 'tier': isolation.tier, 'error': error}).encode()
    control.sendall(len(hello).to_bytes(4, 'little') + hello)
    if not error:
        server.serve()


def _answerer(settings: dict, limits: Limits, isolation: Isolation) -> Callable[[str, int], None]:
    """What the process of a program does: (program, descriptor of its result). Everything it needs is imported here."""
    renderer, seed, replay = find(settings['language']).renderer, settings['seed'], settings['replay'] != 'off'
    if renderer is not None:
        renderer.warm()
        return lambda program, result: rendering.render_program(program, renderer, limits, isolation, result)
    job, recorder = warm.warm_up(settings['science'], replay)
    return lambda program, result: job.write_outcome(result, job.run_program(program, recorder, limits, seed, replay))


def _forget_own_source() -> None:
    """Takes the source tree of this package off the path of programs, unless it is installed among the others."""
    root = str(Path(__file__).resolve().parents[2])
    if root not in map(os.path.realpath, site.getsitepackages()):
        sys.path[:] = [path for path in sys.path if os.path.realpath(path) != root]


class _Server:
    """Answers the requests on the control socket until it closes."""

    def __init__(self, control: socket.socket, isolation: Isolation, limits: Limits, answer: Callable[[str, int], None]):
        self._control = control
        self._isolation = isolation
        self._limits = limits
        self._scratch = isolation.scratch
        self._answer = answer
        self._pid = os.getpid()
        self._replayer = 0

    def serve(self) -> None:
        while (request := self._receive()) is not None:
            kind, descriptor = request
            if kind == b'R':
                self._start_replayer(descriptor)
                continue
            program = self._program()
            if program is None:
                return
            child = os.fork()
            if child == 0:
                self._run(program, descriptor)
            os.close(descriptor)
            self._control.sendall(self._watch(child))
            self._clean()

    def try_out(self, document: str) -> str:
        """Renders a document of our own behind the walls of programs; '' or why it gave no picture."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            self._run(document, writing)
        os.close(writing)
        frame, deadline = b'', time.monotonic() + _TRIAL_SECONDS
        while (left := deadline - time.monotonic()) > 0 and select.select([reading], [], [], left)[0] and (part := os.read(reading, 1 << 20)):
            frame += part
        os.close(reading)
        self._end(child)
        self._clean()
        try:
            parsed = parse_frame(frame, self._limits, elements=False)
        except ValueError:
            return 'its process ended without a result'
        return '' if parsed.status is Status.ok else parsed.log

    def _clean(self) -> None:
        """An empty scratch directory for the next program, and no ended replayer left in the process table."""
        empty_directory(self._scratch)
        os.chdir(self._scratch)
        if self._replayer and os.waitpid(self._replayer, os.WNOHANG)[0]:
            self._replayer = 0

    def _run(self, program: str, result: int) -> None:
        """The life of the process of a program."""
        code = EXIT_WALLS
        try:
            self._isolation.confine_job(self._pid, result)
            code = EXIT_RESULT
            self._answer(program, result)
            code = 0
        except MemoryError:
            code = EXIT_MEMORY
        finally:
            os._exit(code)

    def _start_replayer(self, descriptor: int) -> None:
        if self._replayer:
            os.kill(self._replayer, signal.SIGKILL)
            os.waitpid(self._replayer, 0)
        self._replayer = os.fork()
        if self._replayer == 0:
            try:
                from recoder_jax.charts import replayer
                answers = socket.socket(fileno=descriptor)      # asks for its kind, which is denied afterwards
                self._isolation.confine_service(self._pid, descriptor)
                replayer.serve(answers, self._limits)
            finally:
                os._exit(0)
        os.close(descriptor)

    def _receive(self) -> tuple[bytes, int] | None:
        """The kind of a request and the descriptor with it; None when the trusted side is gone."""
        kind, descriptors, _, _ = socket.recv_fds(self._control, 1, 1)
        return (kind, descriptors[0]) if kind and descriptors else None

    def _program(self) -> str | None:
        head = self._exactly(4)
        body = head and self._exactly(int.from_bytes(head, 'little'))
        return None if body is None else body.decode()

    def _exactly(self, size: int) -> bytes | None:
        parts = []
        while size:
            part = self._control.recv(size)
            if not part:
                return None
            parts.append(part)
            size -= len(part)
        return b''.join(parts)

    def _watch(self, child: int) -> bytes:
        """Waits for the end of a process; kills it at the deadline, when the trusted side is gone and when it fills
        the disk."""
        start = time.monotonic()
        deadline = start + self._limits.seconds
        poller = select.poll()
        handle = os.pidfd_open(child)
        poller.register(handle, select.POLLIN)
        poller.register(self._control, select.POLLRDHUP)
        events, full = [], False
        while not events and not full and (left := deadline - time.monotonic()) > 0:
            events = poller.poll(1000 * (left if self._isolation.layers['scratch_quota'] else min(left, _LOOK_SECONDS)))
            full = not events and self._is_full()
        os.close(handle)
        status, usage = self._end(child)
        code = -signal.SIGXFSZ if full else os.waitstatus_to_exitcode(status)
        late = not events and not full
        return REPLY.pack(code, late, time.monotonic() - start, usage.ru_utime + usage.ru_stime)

    def _end(self, child: int) -> tuple[int, resource.struct_rusage]:
        """Kills the process of a program and what it started; its status and what it used."""
        try:
            os.killpg(child, signal.SIGKILL)      # not yet reaped, so the number is still its own
        except ProcessLookupError:
            os.kill(child, signal.SIGKILL)        # it had not made its session yet
        ended = os.wait4(child, 0)[1:]
        self._await_group(child)
        return ended

    def _await_group(self, group: int) -> None:
        """Waits until what a guest started has ended too, so that nobody is at work in the scratch directory."""
        deadline = time.monotonic() + _GROUP_SECONDS
        while time.monotonic() < deadline:
            try:
                os.killpg(group, 0)
            except ProcessLookupError:
                return
            if self._replayer or not _collected():      # in a namespace they are left to this process
                time.sleep(_GROUP_LOOK)

    def _is_full(self) -> bool:
        """Whether a program left more than its quota, where no file system keeps it."""
        if self._isolation.layers['scratch_quota'] or self._isolation.tier == 'no_landlock':
            return False
        return holds_more(self._scratch, SCRATCH_FILES, 4 * self._limits.file_mb << 20)



def _collected() -> bool:
    """Takes one ended child out of the process table; whether there was one."""
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


if __name__ == '__main__':
    main()
