"""CIEDE2000 between sRGB colours, vectorised.

Source: Sharma, Wu, Dalal, "The CIEDE2000 color-difference formula: implementation notes, supplementary test data, and
mathematical observations" (2005), kL = kC = kH = 1. Lab is taken from sRGB (IEC 61966-2-1) under D65, 2 degree observer.
"""

import numpy as np

# Linear sRGB to XYZ, and the D65 white point (2 degree observer), Y of white = 1.
_XYZ_FROM_RGB = (
    (0.412424, 0.357579, 0.180464),
    (0.212656, 0.715158, 0.0721856),
    (0.0193324, 0.119193, 0.950444),
)
_WHITE = (0.95047, 1.0, 1.08883)
# Degrees. The formula jumps where hues are opposite; without slack the side depends on the rounding of arctan2.
_OPPOSITE = 180 + 1e-9


def lab_from_hex(colors: list[str]) -> np.ndarray:
    """float64 [N, 3] Lab of '#RRGGBB' strings; ValueError for another form."""
    rgb = np.empty((len(colors), 3))
    for row, color in zip(rgb, colors):
        if len(color) != 7 or color[0] != '#':
            raise ValueError(f'colour {color!r} is not of the form #RRGGBB')
        row[:] = tuple(bytes.fromhex(color[1:]))
    return lab_from_rgb(rgb / 255)


def lab_from_rgb(rgb: np.ndarray) -> np.ndarray:
    """Lab [..., 3] of sRGB [..., 3] in [0, 1]."""
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = linear @ np.array(_XYZ_FROM_RGB).T / np.array(_WHITE)
    epsilon, kappa = 216 / 24389, 24389 / 27
    f = np.where(xyz > epsilon, np.cbrt(xyz), (kappa * xyz + 16) / 116)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def delta_e(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """CIEDE2000 [...] between Lab [..., 3] and Lab [..., 3], broadcast against each other."""
    l1, a1, b1 = np.moveaxis(np.asarray(first, float), -1, 0)
    l2, a2, b2 = np.moveaxis(np.asarray(second, float), -1, 0)
    mean_c7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    g = 0.5 * (1 - np.sqrt(mean_c7 / (mean_c7 + 25.0**7)))
    a1, a2 = (1 + g) * a1, (1 + g) * a2
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    grey = c1 * c2 == 0

    difference = h2 - h1
    far = np.abs(difference) > _OPPOSITE
    wrapped = np.where(far, difference - np.sign(difference) * 360, difference)
    d_hue = np.where(grey, 0.0, wrapped)
    turn = np.where(h1 + h2 < 360, 360.0, -360.0)
    h = np.where(grey, h1 + h2, (h1 + h2 + np.where(far, turn, 0.0)) / 2)

    d_l, d_c = l2 - l1, c2 - c1
    d_h = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(d_hue) / 2)
    c = (c1 + c2) / 2
    t = (1 - 0.17 * np.cos(np.radians(h - 30)) + 0.24 * np.cos(np.radians(2 * h))
         + 0.32 * np.cos(np.radians(3 * h + 6)) - 0.20 * np.cos(np.radians(4 * h - 63)))
    lightness = ((l1 + l2) / 2 - 50) ** 2
    s_l = 1 + 0.015 * lightness / np.sqrt(20 + lightness)
    s_c = 1 + 0.045 * c
    s_h = 1 + 0.015 * c * t
    rotation = 60 * np.exp(-(((h - 275) / 25) ** 2))
    r = -2 * np.sqrt(c**7 / (c**7 + 25.0**7)) * np.sin(np.radians(rotation))
    l_term, c_term, h_term = d_l / s_l, d_c / s_c, d_h / s_h
    return np.sqrt(np.maximum(l_term**2 + c_term**2 + h_term**2 + r * c_term * h_term, 0.0))


def color_similarity(first: list[str], second: list[str]) -> np.ndarray:
    """float64 [N, M] in [0, 1] between colours: '#RRGGBB' or the name of a colormap.

    Two '#RRGGBB': 1 - CIEDE2000 / 100, at least 0. Two names: 1 when equal. One of each: 0.
    """
    similarity = np.array([[float(a == b) for b in second] for a in first]).reshape(len(first), len(second))
    rows = [i for i, color in enumerate(first) if color.startswith('#')]
    columns = [j for j, color in enumerate(second) if color.startswith('#')]
    if rows and columns:
        a = lab_from_hex([first[i] for i in rows])
        b = lab_from_hex([second[j] for j in columns])
        similarity[np.ix_(rows, columns)] = np.maximum(0.0, 1 - delta_e(a[:, None], b[None]) / 100)
    return similarity
