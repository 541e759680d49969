"""A host that the others wait for is named."""

import socket

import pytest

from recoder_jax.lagging import Lag, laggards


@pytest.mark.parametrize(
    ("own", "step", "slow"),
    [
        ([10.0, 10.0, 10.0, 16.0], 20.0, [3]),
        ([10.0, 10.0, 10.0, 14.0], 20.0, []),  # within 1.5 times
        ([0.001, 0.002, 0.001], 1.0, []),  # milliseconds of a step of a second
        ([4.0, 9.0], 12.0, [1]),
        ([9.0, 8.0, 2.0, 2.0, 2.0], 12.0, [0, 1]),
        ([9.0], 12.0, []),
    ],
)
def test_a_process_lags_by_factor_and_by_a_share_of_the_step(own, step, slow):
    said = laggards([(f"host{number}", mean) for number, mean in enumerate(own)], step)
    assert [sentence.split(" works")[0] for sentence in said] == [f"process {number} on host{number}" for number in slow]


def test_processes_are_compared_over_the_steps_since_the_last_time():
    told = []
    lag = Lag(every=2, gather=lambda value: told.append(value) or [["quick", 1.0], value])
    assert [lag.note(step, own, 4.0) for step, own in ((1, 1.0), (2, 1.2), (3, 3.0))] == [[], [], []]
    [sentence] = lag.note(4, 5.0, 6.0)
    assert sentence.startswith(f"process 1 on {socket.gethostname()} works 4.0 s a step alone, 4.0 times the median of 1.0 s")
    assert [mean for _, mean in told] == [pytest.approx(1.1), 4.0]
