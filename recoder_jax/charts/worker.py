"""The fork server: imports matplotlib once, then forks one confined process per program.

Started by `server.ForkServer` as `python -m recoder_jax.charts.worker DESCRIPTOR SETTINGS`, a fresh process with a
scrubbed environment that holds no secret and no golden program. Protocol on the socket DESCRIPTOR:

    out  4 bytes length, JSON {"layers": {name: bool}}                       once, when ready
    in   4 bytes length together with the descriptor of a result pipe, then the program in UTF-8
    out  REPLY: exit code or -signal, deadline passed, wall seconds, CPU seconds

The process of the program writes its frame straight into the result pipe; this server never reads it. The server ends
when the socket closes.
"""

import gc
import json
import os
import select
import signal
import socket
import sys
import time

from recoder_jax.charts.execution import Limits
from recoder_jax.charts.frames import EXIT_MEMORY, EXIT_RESULT, EXIT_WALLS, REPLY
from recoder_jax.charts.isolation import Isolation
from recoder_jax.charts.scratch import empty_directory


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    settings = json.loads(sys.argv[2])
    limits = Limits(**settings['limits'])
    isolation = Isolation(limits, settings['scratch'])
    isolation.confine_server()
    job, recorder = _warm_up()
    isolation.seal_server(_font_folders())
    hello = json.dumps({'layers': isolation.layers}).encode()
    control.sendall(len(hello).to_bytes(4, 'little') + hello)
    server = os.getpid()
    os.chdir(settings['scratch'])
    while (request := _receive(control)) is not None:
        program, result = request
        child = os.fork()
        if child == 0:
            code = EXIT_WALLS
            try:
                isolation.confine_job(server, result)
                code = EXIT_RESULT
                outcome = job.run_program(program, recorder, limits, settings['seed'])
                job.write_outcome(result, outcome)
                code = 0
            except MemoryError:
                code = EXIT_MEMORY
            finally:
                os._exit(code)
        os.close(result)
        control.sendall(_watch(child, limits.seconds, control))
        empty_directory(settings['scratch'])
        os.chdir(settings['scratch'])


def _warm_up():
    """Imports what programs import, draws once so that caches are filled, and keeps the collector off that memory.

    The imports stand here because namespaces have to be entered before them.
    """
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    from recoder_jax.charts import job, picture
    from recoder_jax.charts.recorder import Recorder

    recorder = Recorder()
    recorder.install()
    figure, axes = plt.subplots(figsize=(2, 2))
    axes.plot([0, 1], [0, 1], label='line')
    axes.bar([0, 1], [1, 2])
    axes.set_title('title')
    axes.legend()
    figure.tight_layout()
    picture.take_picture(figure, recorder, 1_000_000)
    plt.close('all')
    recorder.reset()
    # Imports of the program itself must not find this package's source tree.
    sys.path[:] = [path for path in sys.path if path != os.environ.get('PYTHONPATH')]
    del figure, axes
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)      # a program lives for a moment; collecting touches shared pages
    return job, recorder


def _font_folders() -> list[str]:
    from matplotlib import font_manager
    return sorted({os.path.dirname(font.fname) for font in font_manager.fontManager.ttflist})


def _receive(control: socket.socket) -> tuple[str, int] | None:
    """A program and the descriptor its result goes to; None when the trusted side is gone."""
    head, descriptors, _, _ = socket.recv_fds(control, 4, 1)
    if len(head) < 4 or not descriptors:
        return None
    missing, parts = int.from_bytes(head, 'little'), []
    while missing:
        part = control.recv(missing)
        if not part:
            return None
        parts.append(part)
        missing -= len(part)
    return b''.join(parts).decode(), descriptors[0]


def _watch(child: int, seconds: float, control: socket.socket) -> bytes:
    """Waits for the end of a process, kills it at the deadline or when the trusted side is gone."""
    start = time.monotonic()
    poller = select.poll()
    handle = os.pidfd_open(child)
    poller.register(handle, select.POLLIN)
    poller.register(control, select.POLLRDHUP)
    events = dict(poller.poll(1000 * seconds))
    os.close(handle)
    late = not events
    try:
        os.killpg(child, signal.SIGKILL)      # not yet reaped, so the number is still its own
    except ProcessLookupError:
        os.kill(child, signal.SIGKILL)        # it had not made its session yet
    _, status, usage = os.wait4(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return REPLY.pack(code, late, time.monotonic() - start, usage.ru_utime + usage.ru_stime)


if __name__ == '__main__':
    main()
