"""CIEDE2000 agrees with the published pairs and with ChartMimic's colour measure."""

import numpy as np
import pytest

from recoder_jax.charts.colour import color_similarity, delta_e, lab_from_hex

# Sharma, Wu, Dalal (2005), table 1: Lab, Lab, CIEDE2000.
SHARMA = """
50.0000 2.6772 -79.7751 50.0000 0.0000 -82.7485 2.0425
50.0000 3.1571 -77.2803 50.0000 0.0000 -82.7485 2.8615
50.0000 2.8361 -74.0200 50.0000 0.0000 -82.7485 3.4412
50.0000 -1.3802 -84.2814 50.0000 0.0000 -82.7485 1.0000
50.0000 -1.1848 -84.8006 50.0000 0.0000 -82.7485 1.0000
50.0000 -0.9009 -85.5211 50.0000 0.0000 -82.7485 1.0000
50.0000 0.0000 0.0000 50.0000 -1.0000 2.0000 2.3669
50.0000 -1.0000 2.0000 50.0000 0.0000 0.0000 2.3669
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0009 7.1792
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0010 7.1792
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0011 7.2195
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0012 7.2195
50.0000 -0.0010 2.4900 50.0000 0.0009 -2.4900 4.8045
50.0000 -0.0010 2.4900 50.0000 0.0010 -2.4900 4.8045
50.0000 -0.0010 2.4900 50.0000 0.0011 -2.4900 4.7461
50.0000 2.5000 0.0000 50.0000 0.0000 -2.5000 4.3065
50.0000 2.5000 0.0000 73.0000 25.0000 -18.0000 27.1492
50.0000 2.5000 0.0000 61.0000 -5.0000 29.0000 22.8977
50.0000 2.5000 0.0000 56.0000 -27.0000 -3.0000 31.9030
50.0000 2.5000 0.0000 58.0000 24.0000 15.0000 19.4535
50.0000 2.5000 0.0000 50.0000 3.1736 0.5854 1.0000
50.0000 2.5000 0.0000 50.0000 3.2972 0.0000 1.0000
50.0000 2.5000 0.0000 50.0000 1.8634 0.5757 1.0000
50.0000 2.5000 0.0000 50.0000 3.2592 0.3350 1.0000
60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.2630
61.2901 3.7196 -5.3901 61.4292 2.2480 -4.9620 1.8731
35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
22.7233 20.0904 -46.6940 23.0331 14.9730 -42.5619 2.0373
36.4612 47.8580 18.3852 36.2715 50.5065 21.2231 1.4146
90.8027 -2.0831 1.4410 91.1528 -1.6435 0.0447 1.4441
90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377
2.0776 0.0795 -1.1350 0.9033 -0.0636 -0.5514 0.9082
"""


def test_delta_e_equals_the_published_pairs_in_both_directions():
    table = np.array([line.split() for line in SHARMA.strip().splitlines()], float)
    first, second, expected = table[:, :3], table[:, 3:6], table[:, 6]
    np.testing.assert_allclose(delta_e(first, second), expected, atol=5.1e-5)
    np.testing.assert_allclose(delta_e(second, first), expected, atol=5.1e-5)


@pytest.mark.parametrize('first, second, similarity', [
    ('#1F77B4', '#D62728', 0.514241), ('#4C72B0', '#4682B4', 0.927844), ('#DD8452', '#FFA500', 0.822216),
    ('#000000', '#FFFFFF', 0.0), ('#FF0000', '#00FF00', 0.133916), ('#FF0000', '#FE0000', 0.997921),
    ('#2CA02C', '#008000', 0.884296)])
def test_similarity_equals_chartmimics(first, second, similarity):
    assert color_similarity([first], [second])[0, 0] == pytest.approx(similarity, abs=1e-6)
    assert color_similarity([second], [first])[0, 0] == pytest.approx(similarity, abs=1e-6)


def test_lab_of_a_known_colour():
    np.testing.assert_allclose(lab_from_hex(['#1F77B4'])[0], [47.9802, -3.2057, -39.3288], atol=1e-4)


def test_names_match_by_equality_and_never_a_colour():
    similarity = color_similarity(['viridis', '#000000', 'hot'], ['hot', 'viridis', '#000000'])
    np.testing.assert_array_equal(similarity, [[0, 1, 0], [0, 0, 1], [1, 0, 0]])


def test_a_malformed_colour_is_one_sentence():
    with pytest.raises(ValueError, match="'#12' is not of the form"):
        lab_from_hex(['#12'])
