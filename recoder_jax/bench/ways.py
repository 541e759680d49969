"""Three ways to execute a program some times at once: contained, in one warm process, and in a fresh Python."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

from recoder_jax.charts.execution import Execution
from recoder_jax.charts.sandbox import Sandbox

_COLD_SECONDS = 120.0
_SAVE = "\nimport matplotlib.pyplot as _plt\n_plt.savefig('figure.png', dpi=100)\n"


class Failed(Exception):
    """The program does not run this way."""


class Floor:
    """`copies` warm processes (`floor`) that execute and draw, and nothing else. A context manager."""

    def __init__(self, copies: int):
        environment = _environment()
        self._folder = tempfile.TemporaryDirectory(prefix="recoder-bench-")
        self._processes = [subprocess.Popen(
            [sys.executable, "-m", "recoder_jax.bench.floor"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, cwd=self._folder.name, env=environment) for _ in range(copies)]

    def run(self, program: str) -> float:
        """Seconds until every process has executed the program once: the longest of what they measured."""
        for process in self._processes:
            process.stdin.write(json.dumps(program) + "\n")
            process.stdin.flush()
        answers = [json.loads(process.stdout.readline() or '{"error": "the process ended"}')
                   for process in self._processes]
        if error := next((answer["error"] for answer in answers if answer["error"]), ""):
            raise Failed(error)
        return max(answer["seconds"] for answer in answers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception) -> None:
        for process in self._processes:
            process.stdin.close()
            process.stdout.close()
            process.kill()
            process.wait()
        self._folder.cleanup()


class Cold:
    """`copies` fresh interpreters with the program as a script, which saves its figure as a file. A context manager."""

    def __init__(self, copies: int):
        self._copies = copies
        self._folder = tempfile.TemporaryDirectory(prefix="recoder-bench-")

    def run(self, program: str) -> float:
        """Seconds until all have ended."""
        script = Path(self._folder.name, "program.py")
        script.write_text(program if "savefig(" in program else program + _SAVE, encoding="utf-8")
        start = time.perf_counter()
        processes = [subprocess.Popen([sys.executable, script.name], cwd=self._folder.name, env=_environment(),
                                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                     for _ in range(self._copies)]
        try:
            codes = [process.wait(_COLD_SECONDS) for process in processes]
        except subprocess.TimeoutExpired:
            raise Failed(f"it took over {_COLD_SECONDS:g} s") from None
        finally:
            for process in processes:
                process.kill()
                process.wait()
        if any(codes):
            raise Failed(f"exit code {max(codes, key=abs)}")
        return time.perf_counter() - start

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception) -> None:
        self._folder.cleanup()


class Contained:
    """A sandbox of `copies` workers. A context manager."""

    def __init__(self, copies: int, replay: str, isolation: str):
        self.copies = copies
        self.sandbox = Sandbox(workers=copies, replay=replay, isolation=isolation)

    def run(self, program: str, each: int = 1) -> tuple[float, list[Execution]]:
        """Seconds until `copies * each` executions are there, and the executions."""
        start = time.perf_counter()
        futures = [self.sandbox.submit(program) for _ in range(self.copies * each)]
        executions = [future.result() for future in futures]
        return time.perf_counter() - start, executions

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception) -> None:
        self.sandbox.close()


def _environment() -> dict[str, str]:
    """One thread a process, as in the sandbox."""
    single = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    path = os.pathsep.join([str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")])
    return os.environ | single | {"MPLBACKEND": "Agg", "PYTHONPATH": path.rstrip(os.pathsep)}
