"""Memory of a process, as the kernel counts it, sampled by another process: a thread would wait while a read is under way.

    python memory.py PID SECONDS    prints "time allocated mapped" every SECONDS (monotonic clock, bytes) until it is ended
"""

import os
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from typing import Self

_ALLOCATED, _MAPPED = "RssAnon", "RssFile"


def resident(fields: tuple[str, ...], process: int | str = "self") -> list[int]:
    """Bytes of fields of /proc/PID/status: RssAnon (allocated), RssFile (mapped files), VmHWM (most of both ever).

    Raises:
        OSError: the system has no such counts.
    """
    with open(f"/proc/{process}/status", encoding="utf-8") as file:
        found = {line.split(":")[0]: line.split()[1] for line in file if line.startswith(fields)}
    if len(found) < len(fields):
        raise OSError(f"/proc/{process}/status has not all of {', '.join(fields)}; measure on Linux")
    return [int(found[field]) * 1024 for field in fields]


class Peak:
    """The largest memory of this process beyond what it has at the start and what it holds. A context manager.

    Attributes:
        allocated: largest RssAnon, in bytes.
        mapped: largest RssFile, in bytes.
        both: largest sum of the two at one time, in bytes.
        samples: number of samples.
    """

    def __init__(self, period: float = 0.005):
        """`period` is the time between samples in seconds."""
        self._period = period
        self._held = [(0.0, 0)]
        self.allocated = self.mapped = self.both = self.samples = 0

    def hold(self, size: int) -> None:
        """From now on, `size` bytes more do not count."""
        self._held.append((time.monotonic(), self._held[-1][1] + size))

    def __enter__(self) -> Self:
        self._file = tempfile.TemporaryFile("w+")
        self._start = resident((_ALLOCATED, _MAPPED))
        command = [sys.executable, __file__, str(os.getpid()), str(self._period)]
        self._process = subprocess.Popen(command, stdout=self._file)
        while not os.fstat(self._file.fileno()).st_size and self._process.poll() is None:
            time.sleep(0.01)
        return self

    def __exit__(self, *exception) -> None:
        last = time.monotonic(), *resident((_ALLOCATED, _MAPPED))
        self._process.terminate()
        self._process.wait()
        self._file.seek(0)
        for line in self._file:
            if line.endswith("\n"):  # the last may have been cut
                when, allocated, mapped = line.split()
                self._take(float(when), int(allocated), int(mapped))
        self._take(*last)
        self._file.close()

    def _take(self, when: float, allocated: int, mapped: int) -> None:
        held = self._held[bisect_right(self._held, when, key=lambda one: one[0]) - 1][1]
        allocated, mapped = allocated - self._start[0] - held, mapped - self._start[1]
        self.samples += 1
        self.allocated, self.mapped = max(self.allocated, allocated), max(self.mapped, mapped)
        self.both = max(self.both, allocated + mapped)


def main() -> None:
    process, period = sys.argv[1], float(sys.argv[2])
    while True:
        now = time.monotonic()
        allocated, mapped = resident((_ALLOCATED, _MAPPED), process)
        print(now, allocated, mapped, flush=True)
        time.sleep(period)


if __name__ == "__main__":
    main()
