"""The books of a replay: whom each operation paints for, and what its ink was drawn with."""

from dataclasses import dataclass, field

import numpy as np
from matplotlib.textpath import TextToPath

from recoder_jax.charts import footprint
from recoder_jax.charts.claim_form import Claims
from recoder_jax.charts.footprint import PIXELS_PER_POINT, Box
from recoder_jax.charts.ink import NOBODY, Mark, Paint
from recoder_jax.charts.operations import Malformed, Operation


@dataclass(frozen=True)
class Painter:
    """Whom ink counts for: axes, call, index of a text, colour of the call; -1 for none."""

    axes: int
    call: int
    text: int = -1
    color: int = -1


@dataclass(eq=False)
class Run:
    """Successive operations of one painter and the box they can touch."""

    paint: Paint
    operations: list[Operation]
    box: Box


@dataclass(eq=False)
class DrawnLine:
    """A line of text.

    Attributes:
        string: as it was drawn.
        operation: the first that drew it.
        size: height of the font in pixels.
        painter: number of its painter.
        marks: its ink as it was drawn.
    """

    string: str
    operation: Operation
    size: float
    painter: int
    marks: list[Mark] = field(default_factory=list)


class Ledger:
    """Numbers the painters of a draw list and notes what they left.

    Attributes:
        claims: what the draw list claims.
        painters: painter -> number; NOBODY is what no claim is tagged with.
        texts: lines of text outside of ticks.
        kinds: for each call, sorts of its operations that left ink.
        axes_kinds: the same for each axes and what is drawn in it outside of calls.
        mapped: for each call that claims a colormap, colours it left ink with, int [N, 3] each.
        vertices: for each call with claimed marks, where the operations that left ink have vertices, float [N, 2] each.
        ticks: for each axes, texts drawn as parts of its ticks.
        boxes: for each axes, what its ink without ticks and their labels spans; None without such ink.
    """

    def __init__(self, claims: Claims, frames: np.ndarray):
        """frames: rectangles that data is clipped to, [N, 4]."""
        self.claims = claims
        self._frames = frames
        self.painters: dict[Painter, int] = {Painter(-1, -1): NOBODY}
        self.texts: list[DrawnLine] = []
        self.kinds = [set() for _ in claims.calls]
        self.axes_kinds = [set() for _ in claims.axes]
        self.mapped: list[list[np.ndarray]] = [[] for _ in claims.calls]
        marked = {marks.call for marks in claims.marks}
        self.vertices: dict[int, list[np.ndarray]] = {call: [] for call in marked}
        self.ticks: list[list[Operation]] = [[] for _ in claims.axes]
        self.boxes: list[Box | None] = [None] * len(claims.axes)
        self._colors = [frozenset(call.colors) for call in claims.calls]
        self._outlines: dict[int, DrawnLine] = {}
        self._lines: dict[int, DrawnLine] = {}          # by the number of the painter

    def enter(self, operation: Operation) -> Paint:
        """How the ink of an operation is to be booked; Malformed for a tag that no claim has."""
        axes, call = operation.axes, operation.call
        if axes >= len(self.claims.axes) or call >= len(self.claims.calls):
            raise Malformed('an operation is tagged with a claim that is not there')
        alpha = footprint.opacity(operation)
        alpha = 1.0 if alpha >= 0.95 else round(alpha, 4)
        if operation.tick:
            if operation.kind == 't' and axes >= 0:
                self.ticks[axes].append(operation)
            return Paint(self._number(Painter(axes, -1)), alpha, False)
        if operation.kind in 'to':
            return Paint(self._line(operation).painter, alpha, True)
        if call < 0:
            return Paint(self._number(Painter(axes, -1)), alpha, False)
        if footprint.along_frame(operation, self._frames):
            return Paint(NOBODY, alpha, False)
        colors = self._colors[call]
        painter = self._number(Painter(axes, call))
        if not colors:
            return Paint(painter, alpha, True)
        palette = footprint.palette(operation).tolist()
        shown = [(color, self._number(Painter(axes, call, -1, color))) for color in palette if color in colors]
        if len(palette) == 1 and shown:
            return Paint(shown[0][1], alpha, True)
        return Paint(painter, alpha, True, tuple(shown))

    def _number(self, painter: Painter) -> int:
        return self.painters.setdefault(painter, len(self.painters))

    def _line(self, operation: Operation) -> DrawnLine:
        if operation.kind == 'o':
            string, _, _, _, affine, _, serial = operation.args
            line = self._outlines.get(serial)
            if line is not None and line.string == string:
                return line
            size = TextToPath.FONT_SCALE * float(np.sqrt(abs(np.linalg.det(affine[:2, :2]))))
        else:
            _, _, string, font, *_ = operation.args
            size = font.get_size_in_points() * PIXELS_PER_POINT
        painter = self._number(Painter(operation.axes, operation.call, len(self.texts)))
        line = DrawnLine(string, operation, size, painter)
        self.texts.append(line)
        self._lines[painter] = line
        if operation.kind == 'o':
            self._outlines[serial] = line
        return line

    def note(self, run: Run, mark: Mark | None) -> None:
        """Remembers what a run that left ink drew with."""
        if mark is None:
            return
        first = run.operations[0]
        call = -1 if first.tick else first.call
        if first.axes >= 0 and not first.tick:
            self.boxes[first.axes] = _around(self.boxes[first.axes], mark.box)
        line = self._lines.get(run.paint.ink)
        if line is not None:
            line.marks.append(mark)
        kinds = {'text'} if line is not None else set(map(footprint.sort_of, run.operations))
        if call >= 0:
            self.kinds[call] |= kinds
            if call in self.vertices and line is None:
                self.vertices[call] += [footprint.vertices(operation) for operation in run.operations]
            if self.claims.calls[call].maps and line is None:
                self.mapped[call] += [footprint.mapped_colors(operation) for operation in run.operations]
        elif first.axes >= 0:
            self.axes_kinds[first.axes] |= kinds


def _around(a: Box | None, b: Box) -> Box:
    return b if a is None else (min(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), max(a[3], b[3]))
