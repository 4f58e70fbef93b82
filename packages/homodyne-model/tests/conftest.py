"""The model in 50-digit arithmetic, written from its formulas and sharing no code with the package."""

from itertools import pairwise

import mpmath
import numpy as np
import pytest

mp = mpmath.MPContext()
mp.dps = 50


def _real(x):
    return mp.mpf(float(x))


def _integral_of_power(p, t, dt, quadrature):
    """Cumulative integrals of max(t, dt/2)^p and of its derivative by p, from the first frame on."""
    floor = dt / 2
    value, slope = [mp.mpf(0)], [mp.mpf(0)]

    def antiderivative(a, b):
        # p + 1 may be as small as 1e-15; its square divides a difference of nearly equal numbers.
        with mp.workdps(110):
            log_a, log_b, e = mp.log(a), mp.log(b), p + 1
            if e == 0:
                return log_b - log_a, (log_b**2 - log_a**2) / 2
            a, b = mp.power(a, e), mp.power(b, e)
            return (b - a) / e, (b * log_b - a * log_a) / e - (b - a) / e**2

    for start, stop in pairwise(t):
        if quadrature == "trapezoid":
            ends = [max(start, floor), max(stop, floor)]
            step = sum(mp.power(x, p) for x in ends) * dt / 2
            step_slope = sum(mp.power(x, p) * mp.log(x) for x in ends) * dt / 2
        else:
            flat = max(min(stop, floor) - start, mp.mpf(0)) * mp.power(floor, p)
            step, step_slope = antiderivative(max(start, floor), stop)
            step, step_slope = step + flat, step_slope + flat * mp.log(floor)
        value.append(value[-1] + step)
        slope.append(slope[-1] + step_slope)
    return value, slope


class ExactModel:
    """f = g1² and its derivatives at single pairs of frames.

    The trapezoid is taken at its word: the constant part of a rate adds dt per interval.
    """

    def __init__(self, model, physical):
        self.n = len(physical)
        self.p = [_real(x) for x in physical]
        self.q = _real(model.q)
        self.t, self.dt = [_real(x) for x in model.t], _real(model.dt)
        self.quadrature = model.quadrature
        self.decay = self._basis(self.p[0], self.p[1])
        if self.n == 7:
            self.strain = self._basis(self.p[3], self.p[4])
            scale, self.power = {"gap_average": (mp.mpf(1) / 2, 2), "homodyne2": (1 / (2 * mp.pi), 4)}[
                model.shear_kernel
            ]
            scale *= self.q * _real(model.L)
            angles = [(self.p[6] - _real(x)) * mp.pi / 180 for x in model.phi]
            self.phase = [scale * mp.cos(a) for a in angles]
            self.phase_slope = [-scale * mp.sin(a) * mp.pi / 180 for a in angles]

    def _basis(self, rate, exponent):
        value, slope = _integral_of_power(exponent, self.t, self.dt, self.quadrature)
        if self.quadrature == "trapezoid":
            elapsed = [self.dt * k for k in range(len(self.t))]
        else:
            elapsed = [x - self.t[0] for x in self.t]
        return value, [rate * x for x in slope], elapsed

    def __call__(self, a, i, j):
        """The value and the list of derivatives, as 50-digit numbers."""
        if i == j:
            return mp.mpf(1), [mp.mpf(0)] * self.n
        late, early = max(i, j), min(i, j)
        d = [b[late] - b[early] for b in self.decay]
        decay = mp.exp(-(self.q**2) * (self.p[0] * d[0] + self.p[2] * d[2]))
        if self.n == 3:
            return decay, [-(self.q**2) * decay * x for x in d]
        g = [b[late] - b[early] for b in self.strain]
        strain = self.p[3] * g[0] + self.p[5] * g[2]
        x = self.phase[a] * strain
        if abs(x) < mp.mpf("1e-10"):
            sinc, slope = 1 - x**2 / 6 + x**4 / 120, -x / 3 + x**3 / 30
        else:
            sinc = mp.sin(x) / x
            slope = (mp.cos(x) - sinc) / x
        f = decay * sinc**self.power
        by_x = decay * self.power * sinc ** (self.power - 1) * slope
        derivatives = [-(self.q**2) * f * y for y in d]
        derivatives += [by_x * self.phase[a] * y for y in g]
        return f, [*derivatives, by_x * self.phase_slope[a] * strain]


@pytest.fixture(scope="session")
def exact():
    """The 50-digit context and the model in it."""
    return mp, ExactModel


@pytest.fixture(scope="session")
def draw_physical():
    """Random physical parameters within the default bounds; rates log-uniform, offsets of any size and sign."""

    def draw(rng, n_physical):
        exponents = np.where(
            rng.random(2) < 0.15, rng.choice([-2.0, -1.0, 0.0, 1.0, 2.0], 2), rng.uniform(-2, 2, 2)
        )
        offsets = rng.uniform(-1, 1, 2) * 10 ** rng.uniform(-5, 0, 2) * [1e5, 0.1]
        shear = 10 ** rng.uniform(-6, np.log10(0.5))
        physical = [10 ** rng.uniform(0, 9), exponents[0], offsets[0], shear, exponents[1], offsets[1]]
        return np.array([*physical, rng.uniform(-180, 180)])[:n_physical]

    return draw
