"""Who can be seen: the painter's algorithm with an owner for each pixel.

After each run of operations of one painter the pixels that changed get that painter as owner, so at the end the owner
of a pixel is the one who is seen there. A painter with alpha dims those below and all are seen, until less than
`_SEEN` of a lower one comes through; `_LAYERS` painters a pixel are remembered.
"""

from dataclasses import dataclass

import numpy as np

from recoder_jax.charts.footprint import Box, packed

NOBODY = 0
CONTRAST = 10            # levels of 255 in one channel at which a change counts as ink
_SEEN = 0.25
_OPAQUE = 0.95
_LAYERS = 6
_SAMPLE = 20_000         # pixels
_DISTINCT = 4            # pixels in which a painter has to differ from what is around
_SAME_LINE = 5.0         # levels by which a mixed pixel may miss the line from background to colour
_WORK = 1_000_000        # pixels x colours that are compared for one run


@dataclass(frozen=True, slots=True)
class Paint:
    """How the ink of a run is to be booked.

    Attributes:
        ink: the painter, an index from 1.
        alpha: opacity of what is drawn.
        claimed: whether it is still of interest below others.
        choices: (0xRRGGBB, painter) for runs of several colours; a pixel goes to the colour it shows.
    """

    ink: int
    alpha: float
    claimed: bool
    choices: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """The ink of a run when it was drawn: flat positions of its pixels and their bounds."""

    places: np.ndarray
    box: Box


class Ink:
    """Follows a canvas, uint8 [H, W, 4], that is drawn on between the calls of `book`."""

    def __init__(self, canvas: np.ndarray):
        self._pixels = canvas.view(np.uint32)[..., 0]
        self._seen = self._pixels.copy()
        self._base = self._pixels.copy()          # as it would be with frames, grids and backgrounds alone, or nearly
        size = self._pixels.size
        self._owners = np.zeros((_LAYERS, size), np.int32)      # from the top down
        self._shows = np.zeros((_LAYERS, size), np.float32)     # what share of an owner comes through
        self._used = 1                                          # layers that hold somebody
        self._claimed = np.zeros(1, bool)

    def book(self, box: Box, paint: Paint) -> Mark | None:
        """Gives what changed in the box since the last call to the painter; None when no ink was left."""
        y0, y1, x0, x1 = box
        region, before = self._pixels[y0:y1, x0:x1], self._seen[y0:y1, x0:x1]
        if paint.ink == NOBODY and paint.alpha >= _OPAQUE:
            changed = region != before
            for owners in self._owners[:self._used]:
                owners.reshape(self._pixels.shape)[y0:y1, x0:x1][changed] = NOBODY
            np.copyto(self._base[y0:y1, x0:x1], region, where=changed)
            before[...] = region
            return None
        rows, columns = np.nonzero(region != before)
        if not len(rows):
            return None
        new, old = region[rows, columns], before[rows, columns]
        before[rows, columns] = new
        if not paint.claimed:
            self._base[y0:y1, x0:x1][rows, columns] = new
        places = (rows + y0) * self._pixels.shape[1] + columns + x0
        strong = _contrast(old, new) >= CONTRAST
        self._remember(paint)
        if paint.alpha >= _OPAQUE:
            for owners in self._owners[:self._used]:
                owners[places] = NOBODY
            chosen = places[strong]
            self._owners[0][chosen], self._shows[0][chosen] = self._painters(paint, old, new, strong), 1.0
        else:
            self._dim(places, paint)
            chosen = places[strong]
            self._lay_over(chosen, self._painters(paint, old, new, strong), paint)
        if not len(chosen):
            return None
        ys, xs = rows[strong], columns[strong]
        return Mark(chosen, (int(ys[0]) + y0, int(ys[-1]) + y0 + 1, int(xs.min()) + x0, int(xs.max()) + x0 + 1))

    def _remember(self, paint: Paint) -> None:
        highest = max([paint.ink, *(ink for _, ink in paint.choices)])
        if highest >= len(self._claimed):
            self._claimed = np.concatenate([self._claimed, np.zeros(highest + 64 - len(self._claimed), bool)])
        self._claimed[[paint.ink, *(ink for _, ink in paint.choices)]] = paint.claimed

    def _dim(self, places: np.ndarray, paint: Paint) -> None:
        for owners, shows in zip(self._owners[:self._used], self._shows):
            others = places[owners[places] != paint.ink]
            left = shows[others] * np.float32(1 - paint.alpha)
            shows[others] = left
            owners[others[left < _SEEN]] = NOBODY

    def _lay_over(self, places: np.ndarray, painters: np.ndarray | int, paint: Paint) -> None:
        """New owners on top; claimed ones below stay known while they show."""
        top, shows = self._owners[0], self._shows[0]
        held = top[places]
        mine = held == painters
        shows[places[mine]] = 1.0
        below = self._claimed[held] & ~mine
        if not paint.claimed:                    # a frame or a grid line over a claimed painter is not of interest
            free = places[~below & ~mine]
            top[free], shows[free] = paint.ink, 1.0
            return
        covered = places[below]
        if len(covered):
            self._used = min(self._used + 1, _LAYERS)
            for layer in range(self._used - 1, 0, -1):
                for array in (self._owners, self._shows):
                    array[layer][covered] = array[layer - 1][covered]
        top[places], shows[places] = painters, 1.0

    def _painters(self, paint: Paint, old: np.ndarray, new: np.ndarray, strong: np.ndarray) -> np.ndarray | int:
        if not paint.choices:
            return paint.ink
        return _attribute(paint, _rgb(old[strong]), _rgb(new[strong]))

    def finish(self) -> None:
        """Takes pixels that changed without being booked from their owners."""
        stray = np.flatnonzero(self._pixels != self._seen)
        self._owners[:, stray] = NOBODY

    def amounts(self, series: np.ndarray) -> np.ndarray:
        """Pixels in which each painter is seen, int [painters]; `series`, bool [painters], tells which draw data.

        One of those is seen only if it differs from the frame below it, or from other series beside it: white over
        green over a white axes is not.
        """
        painters = len(series)
        amounts = sum(np.bincount(owners, minlength=painters) for owners in self._owners[:self._used])
        unclear = series & (amounts > 0)
        for most in (_SAMPLE, self._pixels.size):         # all pixels only where a sample shows too few
            if unclear.any():
                unclear &= self._distinct(unclear, most) < _DISTINCT
        if unclear.any():
            amounts[unclear & (self._edges(series) < _DISTINCT)] = 0
        return amounts

    def _distinct(self, painters: np.ndarray, most: int) -> np.ndarray:
        """For each of the painters, pixels in which it differs from the frame below, among about `most`."""
        counts = np.zeros(len(painters), np.int64)
        pixels, base = self._pixels.reshape(-1), self._base.reshape(-1)
        for owners in self._owners[:self._used]:
            places = np.flatnonzero(painters[owners])
            places = places[::len(places) // most + 1]
            differ = _contrast(base[places], pixels[places]) >= CONTRAST
            counts += np.bincount(owners[places[differ]], minlength=len(painters))
        return counts

    def _edges(self, series: np.ndarray) -> np.ndarray:
        """For each painter of data, neighbouring pixels of another one and another colour."""
        owners, counts = self._owners[0].reshape(self._pixels.shape), np.zeros(len(series), np.int64)
        for here, beside in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
            one, other = owners[here], owners[beside]
            border = np.nonzero((one != other) & series[one] & series[other])
            differ = _contrast(self._pixels[here][border], self._pixels[beside][border]) >= CONTRAST
            for side in (one, other):
                counts += np.bincount(side[border][differ], minlength=len(series))
        return counts

    def kept(self, places: np.ndarray, painters: np.ndarray) -> np.ndarray:
        """Which of the places are still owned by one of the painters."""
        return np.isin(self._owners[:self._used, places], painters).any(0)


def _rgb(pixels: np.ndarray) -> np.ndarray:
    return pixels.view(np.uint8).reshape(-1, 4)[:, :3]


def _contrast(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Greatest change of a channel, uint8 [N], as seen on white."""
    a, b = old.view(np.uint8).reshape(-1, 4), new.view(np.uint8).reshape(-1, 4)
    if min(a[:, 3].min(initial=255), b[:, 3].min(initial=255)) < 255:
        a, b = on_white(a), on_white(b)
    return (np.maximum(a[:, :3], b[:, :3]) - np.minimum(a[:, :3], b[:, :3])).max(1)


def on_white(rgba: np.ndarray) -> np.ndarray:
    """uint8 [..., 3]: colours with alpha over white."""
    alpha = rgba[..., 3:].astype(np.float32) / 255
    return np.rint(rgba[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)


def _attribute(paint: Paint, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The painter of the colour each changed pixel shows, paint.ink where it shows none of the choices.

    A pixel shows a colour when it has it, or when its change points from the background to it.
    """
    colors = np.array([color for color, _ in paint.choices])
    inks = np.array([ink for _, ink in paint.choices], np.int32)
    owners = np.full(len(new), paint.ink, np.int32)
    order = np.argsort(colors)
    values = packed(new.astype(np.int32))
    found = np.minimum(np.searchsorted(colors[order], values), len(order) - 1)
    exact = colors[order][found] == values
    owners[exact] = inks[order][found[exact]]
    rest = np.flatnonzero(~exact)
    rest = rest[::len(rest) * len(colors) // _WORK + 1]
    base = old[rest].astype(np.float32)
    change = new[rest].astype(np.float32) - base
    best = np.full(len(rest), _SAME_LINE, np.float32)
    for color, ink in zip(colors.tolist(), inks.tolist()):
        way = np.array([color >> 16, color >> 8 & 255, color & 255], np.float32) - base
        length = np.maximum((way * way).sum(1), 1)
        share = (change * way).sum(1) / length
        miss = np.abs(change - share[:, None] * way).max(1)
        better = (miss < best) & (share > 0) & (share <= paint.alpha + 0.03)
        best[better] = miss[better]
        owners[rest[better]] = ink
    return owners
