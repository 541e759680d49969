"""A trace of some steps: what XLA ran on the devices, for XProf and Perfetto."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import jax


class Profile:
    """Traces from the beginning of step `steps[0]` to the end of step `steps[1]` into `folder`; without steps it does nothing. A context
    manager: left early, it writes what was traced. A run that resumes between the two traces what is left."""

    def __init__(self, folder: Path, steps: Sequence[int]):
        self._folder, self._steps, self._on = folder, tuple(steps), False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self._stop()

    def before(self, step: int) -> None:
        """Step number `step`, from 1, begins."""
        if self._steps and not self._on and self._steps[0] <= step <= self._steps[1]:
            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = 0  # calls of Python would be most of the file
            jax.profiler.start_trace(self._folder, profiler_options=options)
            self._on = True

    def after(self, step: int) -> None:
        """It has ended."""
        if self._steps and step >= self._steps[1]:
            self._stop()

    def _stop(self) -> None:
        if self._on:
            self._on = False
            jax.profiler.stop_trace()
