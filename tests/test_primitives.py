"""The elementary functions of the generated files against double precision, and the generator against its paper."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from numba import njit
from scipy import stats

from pgmdsl.compiler import primitives_base, primitives_float32, primitives_float64, primitives_special
from pgmdsl.compiler.values import log_normal_cdf


@njit
def each(function, x, out):
    for i in range(x.size):
        out[i] = function(x[i])


def relative_error(name, x, exact, floor=0.0):
    """The largest error of a float32 function over the points, relative to the exact value (at least `floor`)."""
    x = x.astype(np.float32)
    out = np.empty_like(x)
    each(getattr(primitives_float32, name), x, out)
    wanted = exact(x.astype(np.float64))
    return (np.abs(out - wanted) / np.maximum(np.abs(wanted), floor)).max()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(
    ("name", "points", "exact", "floor", "error"),
    [
        ("exp", np.linspace(-87, 88, 100_001), np.exp, 0.0, 2e-7),
        ("sigmoid", np.linspace(-80, 80, 100_001), sigmoid, 0.0, 3e-7),
        ("softplus", np.linspace(-80, 80, 100_001), lambda x: np.logaddexp(0, x), 0.0, 4e-7),
        ("tanh", np.linspace(-20, 20, 100_001), np.tanh, 1.0, 2e-7),
        ("log", np.exp(np.linspace(-80, 80, 100_001)), np.log, 1.0, 2e-7),
    ],
)
def test_functions_are_accurate_to_a_few_units_in_the_last_place(name, points, exact, floor, error):
    assert relative_error(name, points, exact, floor) < error


def test_nan_stays_nan():
    out = np.empty(1, np.float32)
    for name in ("exp", "sigmoid", "softplus", "tanh"):
        each(getattr(primitives_float32, name), np.array([np.nan], np.float32), out)
        assert np.isnan(out[0])


@pytest.mark.parametrize("module", [primitives_float32, primitives_float64])
def test_normal_numbers(module):
    from scipy.stats import kstest

    counters = np.arange(200_000, dtype=np.uint64) + np.uint64(2**63)
    out = np.empty(counters.size, module.Real)
    each(module.normal, counters, out)
    assert kstest(out.astype(np.float64), "norm").pvalue > 1e-4
    moments = [(out.astype(np.float64) ** k).mean() for k in (1, 2, 3, 4)]
    errors = np.sqrt(np.array([1, 2, 15, 96]) / counters.size)
    assert np.all(np.abs(np.array(moments) - [0, 1, 0, 3]) < 5 * errors)


@pytest.mark.parametrize("module", [primitives_float32, primitives_float64])
def test_uniform_numbers_are_never_0_or_1(module):
    from scipy.stats import kstest

    counters = np.arange(500_000, dtype=np.uint64)
    out = np.empty(counters.size, module.Real)
    each(module.uniform, counters, out)
    assert 0 < out.min() < out.max() < 1
    assert kstest(out[:100_000].astype(np.float64), "uniform").pvalue > 1e-4


def test_squares_against_whole_numbers():
    """The rounds as the paper writes them, in Python's integers."""
    mask, key = 2**64 - 1, int(primitives_base.SQUARES_KEY)

    def swap(x):
        return x >> 32 | x << 32 & mask

    for counter in (0, 1, 12345, 2**63 + 7, 2**64 - 1):
        x = y = counter * key & mask
        z = y + key & mask
        x = swap(x * x + y & mask)
        x = swap(x * x + z & mask)
        x = swap(x * x + y & mask)
        t = x * x + z & mask
        assert primitives_base.squares32(np.uint64(counter)) == t >> 32
        assert primitives_base.squares64(np.uint64(counter)) == t ^ ((swap(t) ** 2 + y & mask) >> 32)


# --- counts and real units ---


def test_log_normal_cdf():
    """To 12 digits of the value, however small it or its complement is; as settings and checks compute it."""
    for x in [-1e3, -200.0, -37.6, -30.0, *np.linspace(-12, 12, 97), 20.0, 37.0]:
        with mp.workdps(40):
            exact = mp.log1p(-mp.ncdf(-x)) if x > 0 else mp.log(mp.ncdf(x))
        assert abs(primitives_special.log_normal_cdf(x) / exact - 1) < 1e-12, x
        assert abs(log_normal_cdf(x) / exact - 1) < 1e-12, x
    assert primitives_special.log_normal_cdf(40.0) == 0
    assert np.isnan(primitives_special.log_normal_cdf(np.nan))


def test_log_factorials():
    for x in [0.0, 1.0, 2.0, 1023.0, 1024.0, 1e7, 0.5, 17.3]:
        np.testing.assert_allclose(primitives_special.log_factorial(x), float(mp.loggamma(x + 1)), rtol=1e-14)


def piece(f, lower, upper, curvature, slope, constant):
    """The log of a piece's integral and its first two moments, by quadrature outward from where it is highest."""
    with mp.workdps(20):
        g, c = mp.mpf(f) - slope, mp.mpf(curvature)
        top = min(max(g / c, mp.mpf(lower)), mp.mpf(upper))
        far = 40 / (abs(g - c * top) + mp.sqrt(c))  # where the integrand is below exp(-40) of its largest value
        ends = [max(mp.mpf(lower), top - far), top, min(mp.mpf(upper), top + far)]
        points = [a + (b - a) * k / 4 for a, b in (ends[:2], ends[1:]) for k in range(5) if b > a]
        height = g * top - c * top * top / 2
        moments = [mp.quad(lambda s, n=n: s**n * mp.exp(g * s - c * s * s / 2 - height), points) for n in range(3)]
        return height - constant + mp.log(moments[0]), moments[1] / moments[0], moments[2] / moments[0]


@pytest.mark.parametrize("f", [-400.0, -41.0, -3.0, 0.2, 1.0, 5.0, 60.0])
@pytest.mark.parametrize(
    ("lower", "upper"),
    [
        (0.0, np.inf),
        (-np.inf, 0.0),
        (-np.inf, np.inf),
        (-0.7, 0.6),
        (0.1, 0.1001),
        (-1.0, 9.0),
        (2.0, 3.0),
        (-5.0, -2.0),
    ],
)
def test_moments_of_a_piece(f, lower, upper):
    for curvature, slope in ((1.0, 0.0), (0.3, -0.4), (7.0, 2.0)):
        found = primitives_special.piece_moments(f, lower, upper, curvature, slope, 0.6)
        for one, wanted in zip(found, piece(f, lower, upper, curvature, slope, 0.6), strict=True):
            np.testing.assert_allclose(one, float(wanted), rtol=3e-10, atol=1e-13)


def test_draws_of_a_piece():
    """Every way in which a normal distribution is cut off; one in 100,000 correct samplers would fail each."""

    @njit
    def draw(lower, upper, f, out):
        for n in range(out.size):
            out[n] = primitives_special.draw_piece(f, lower, upper, 0.8, 0.1, np.uint64(10**6 + n), 1)

    out = np.empty(200_000)
    deviation = 0.8**-0.5
    for lower, upper in ((0.0, np.inf), (-np.inf, 0.3), (-np.inf, np.inf), (-0.7, 0.9), (-1.0, 6.0), (3.0, 3.4)):
        for f in (-20.0, -1.0, 0.1, 2.0, 25.0):
            draw(lower, upper, f, out)
            assert ((out >= lower) & (out <= upper)).all()
            mode = (f - 0.1) / 0.8
            low, high, z = ((x - mode) / deviation for x in (lower, upper, out))
            side = -1 if low > 0 else 1  # tails are compared where they are small
            below, above, passed = (stats.norm.cdf(side * x) for x in (low, high, z))
            assert stats.kstest((passed - below) / (above - below), "uniform").pvalue > 1e-5, (lower, upper, f)


def test_further_numbers_of_units_are_apart():
    """Counters of units follow each other; the further numbers of a unit must not be those of another."""
    stride, count = int(primitives_special.STRIDE), 2_000
    multiples = sorted(t * stride % 2**64 for t in range(count))
    gaps = [b - a for a, b in zip(multiples, [*multiples[1:], multiples[0] + 2**64], strict=True)]
    assert min(gaps) > 2**64 // (3 * count)
