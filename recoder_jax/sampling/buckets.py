"""Padded sizes. Everything that jit sees has one of few sizes, so that few shapes are compiled."""


def power_of_two(count: int, least: int) -> int:
    """The smallest power of two times `least` that holds `count`: at most half of it is padding."""
    size = max(1, least)
    while size < count:
        size *= 2
    return size


def quarter_step(count: int, least: int) -> int:
    """The smallest size that holds `count`, of four equal steps to each doubling of `least`: at most a fifth of it is padding."""
    double = power_of_two(count, least)
    half = double // 2
    if half < least:
        return double
    return next(size for size in (half + -(-half * n // 4) for n in range(1, 5)) if size >= count)


def share_of(whole: int, count: int, least: int = 1) -> int:
    """The smallest of a whole, its half, its quarter and its eighth that holds `count` and is not below `least`."""
    shares = [whole] + [-(-whole // parts) for parts in (2, 4, 8)]
    return min(share for share in shares if share >= min(max(count, least), whole))
