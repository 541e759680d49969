"""The floor of an execution: one warm process that executes programs and draws their figures once, uncontained.

    in   a line a program: its text as a JSON string
    out  a line a program: {"seconds": s} of executing and drawing, or {"error": sentence}

The figure is the one saved last, else the current one, else the one shown last, drawn by Agg at 100 dots an inch.
Figures are closed and collected between programs, outside of the measured time.
"""

import gc
import json
import os
import random
import sys
import time


def main() -> None:
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.backend_bases
    import matplotlib.figure
    import matplotlib.pyplot as plt
    import numpy as np

    saved, shown = [], []
    matplotlib.figure.Figure.savefig = lambda figure, *args, **kwargs: saved.append(figure)
    matplotlib.backend_bases.FigureCanvasBase.draw_idle = lambda canvas, *args, **kwargs: None
    plt.show = lambda *args, **kwargs: shown.append(plt.gcf())
    answers = os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)      # as in the sandbox
    for line in sys.stdin:
        program = json.loads(line)
        random.seed(0)
        np.random.seed(0)
        try:
            start = time.perf_counter()
            _execute_and_draw(program, plt, saved, shown)
            answer = {"seconds": time.perf_counter() - start, "error": ""}
        except BaseException as error:      # whatever the program raises, the next one gets its turn
            answer = {"error": f"{type(error).__name__}: {error}"[:200]}
        saved.clear()
        shown.clear()
        plt.close("all")
        matplotlib.rcdefaults()
        matplotlib.use("Agg")
        gc.collect()
        print(json.dumps(answer), file=answers, flush=True)


def _execute_and_draw(program: str, plt, saved: list, shown: list) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    exec(compile(program, "program.py", "exec", dont_inherit=True), {"__name__": "__main__", "__file__": "program.py"})
    figure = saved[-1] if saved else plt.gcf() if plt.get_fignums() else shown[-1] if shown else None
    if figure is None:
        raise ValueError("the program ended without a figure")
    figure.set_dpi(100)
    canvas = figure.canvas if isinstance(figure.canvas, FigureCanvasAgg) else FigureCanvasAgg(figure)
    canvas.draw()


if __name__ == "__main__":
    main()
