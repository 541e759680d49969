"""A reader and a replayer for tests: the replayer is a plain process without walls."""

import json
import socket
import subprocess
import sys

from recoder_jax.charts.execution import Limits
from recoder_jax.charts.frames import Ending
from recoder_jax.charts.reader import Reader, ReplayerLost

ENDING = Ending(0, False, 0.1, 0.1)
LIMITS = Limits(seconds=8)
SERVE = '''
import socket, sys
from recoder_jax.charts.execution import Limits
from recoder_jax.charts.replayer import serve
print('ready', flush=True)
serve(socket.socket(fileno=int(sys.argv[1])), Limits(seconds=float(sys.argv[2])))
'''


class Replaying:
    """A reader with a replayer that is started again when it is lost."""

    def __init__(self, limits=LIMITS):
        self.reader, self.limits, self.processes = Reader(limits, 'required'), limits, []

    def start(self):
        ours, theirs = socket.socketpair()
        with theirs:
            self.processes.append(subprocess.Popen(
                [sys.executable, '-c', SERVE, str(theirs.fileno()), str(self.limits.seconds)],
                pass_fds=(theirs.fileno(),), stdout=subprocess.PIPE))
        self.processes[-1].stdout.readline()
        self.reader.attach(ours)

    def read(self, draw_list):
        """The execution of a draw list, None when the replayer was lost."""
        if not self.processes or self.processes[-1].poll() is not None:
            self.start()
        try:
            return self.reader.read(frame_of(draw_list), ENDING)
        except ReplayerLost:
            self.processes[-1].kill()
            self.processes[-1].wait()
            return None

    def close(self):
        self.reader.close()
        for process in self.processes:
            process.kill()
            process.wait()
            process.stdout.close()


def frame_of(draw_list):
    header = json.dumps({'status': 'ok', 'log': '', 'tampered': '', 'chartmimic': None, 'figure': {'body': 'draw_list'},
                         'phases': {'execute': 0, 'draw': 0, 'elements': 0}}).encode()
    return len(header).to_bytes(4, 'little') + header + draw_list
