import numpy as np
import pytest
from scipy import stats

from hilum.metrics.student_t import quantile, two_sided_p


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 19, 54, 99, 1000, 10_000])
def test_equals_scipy(degrees):
    for t in (0.0, 0.1, 0.7, 1.96, 2.5, 6.0, 40.0):
        assert two_sided_p(t, degrees) == pytest.approx(2 * stats.t.sf(t, degrees), abs=1e-12)
        assert two_sided_p(-t, degrees) == two_sided_p(t, degrees)
    for level in (0.5, 0.9, 0.95, 0.999):
        assert quantile(level, degrees) == pytest.approx(
            stats.t.ppf(0.5 + level / 2, degrees), rel=1e-9
        )


@pytest.mark.parametrize("degrees", [3, 8])
def test_far_out_nothing_is_left(degrees):
    assert two_sided_p(float("inf"), degrees) == pytest.approx(0.0, abs=1e-15)
    assert 0.0 <= two_sided_p(1e9, degrees) < 1e-12


@pytest.mark.parametrize(("t", "degrees"), [(1.0, 0), (np.nan, 5)])
def test_what_is_no_t_is_refused(t, degrees):
    with pytest.raises(ValueError, match="at least 1"):
        two_sided_p(t, degrees)


@pytest.mark.parametrize("level", [0.0, 1.0, np.nan])
def test_a_level_outside_0_to_1_is_refused(level):
    with pytest.raises(ValueError, match="level is"):
        quantile(level, 5)
