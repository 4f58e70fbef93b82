"""Contrast, offset and σ integrated out, against least squares and quadrature of the joint density."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import logsumexp

from homodyne_cmc._collapsed import Collapsed, Moments
from homodyne_model import ScalingBasis

pytestmark = pytest.mark.usefixtures("as_inside_a_fit")

PHI = np.array([0.0, 40.0, 100.0, 190.0, 260.0])
BASES = {
    "individual": None,
    "constant": ScalingBasis("constant").matrix(PHI),
    "fourier": ScalingBasis("fourier", 1).matrix(PHI),
}


class Points:
    """Weighted points (f, y) of some angles, and what is made of them."""

    def __init__(self, seed=0, n=40):
        rng = np.random.default_rng(seed)
        self.f = rng.uniform(0, 1, (len(PHI), n))
        self.w = rng.uniform(0.5, 2.0, self.f.shape)
        self.y = 0.1 + 0.3 * self.f + 0.05 * rng.normal(size=self.f.shape)
        self.moments = Moments(
            np.stack([(self.w * v).sum(1) for v in (np.ones_like(self.y), self.y, self.y**2)], -1),
            np.zeros(len(PHI)),
            np.full(len(PHI), float(n)),
        )

    def sums(self, f):
        return jnp.asarray(np.stack([(self.w * v).sum(1) for v in (f, f**2, f * self.y)], -1))

    def least_squares(self, f, basis):
        """Residual sums and log determinants of every group of angles that share coefficients."""
        groups = [[a] for a in range(len(PHI))] if basis is None else [list(range(len(PHI)))]
        b = np.ones((len(PHI), 1)) if basis is None else basis
        out = []
        for group in groups:
            rows = np.concatenate(
                [np.concatenate([f[a][:, None] * b[a], np.ones((f.shape[1], 1)) * b[a]], 1) for a in group]
            )
            w, y = (np.concatenate([v[a] for a in group]) for v in (self.w, self.y))
            normal = rows.T @ (w[:, None] * rows)
            best = np.linalg.solve(normal, rows.T @ (w * y))
            out.append(
                (
                    np.sum(w * (y - rows @ best) ** 2),
                    np.linalg.slogdet(normal)[1],
                    rows.shape[1],
                    len(y),
                    best,
                    normal,
                )
            )
        return out


@pytest.mark.parametrize("basis", BASES.values(), ids=BASES)
@pytest.mark.parametrize("noise", ["given", "global"])
@pytest.mark.parametrize("share", [1.0, 0.25])
def test_it_is_the_integral_over_the_scaling(basis, noise, share):
    points, collapsed = Points(), Collapsed(noise, basis)
    values, expected = [], []
    for power in (1.0, 1.3):
        f = points.f**power
        values.append(float(collapsed.log_likelihood(points.sums(f), points.moments, share)))
        fits = points.least_squares(f, basis)
        residual, volume = sum(x[0] for x in fits), sum(x[1] for x in fits)
        n, m = sum(x[3] for x in fits), sum(x[2] for x in fits)
        core = -0.5 * residual if noise == "given" else -0.5 * (n - m * share) * np.log(residual)
        expected.append(core - 0.5 * share * volume)
    assert values[1] - values[0] == pytest.approx(expected[1] - expected[0], rel=1e-9)


def test_one_sigma_an_angle():
    points, collapsed = Points(), Collapsed("per_angle", None)
    fits = points.least_squares(points.f, None)
    expected = sum(-0.5 * (x[3] - 2) * np.log(x[0]) - 0.5 * x[1] for x in fits)
    assert float(collapsed.log_likelihood(points.sums(points.f), points.moments, 1.0)) == pytest.approx(
        expected
    )


def log_integral_over_sigma(residual, free):
    """log ∫ σ^-free exp(-RSS / 2σ²) dσ/σ by quadrature about the largest integrand."""
    top = 0.5 * np.log(residual / free)

    def integrand(s):
        return np.exp(-free * (s - top) - 0.5 * residual * np.exp(-2 * s) + 0.5 * free)

    return np.log(quad(integrand, top - 1, top + 1, epsabs=0, epsrel=1e-11)[0]) - free * top


def test_unknown_sigma_is_the_known_one_integrated():
    points = Points()
    found, expected = [], []
    for power in (1.0, 1.1):
        fits = points.least_squares(points.f**power, None)
        residual, volume, n = sum(x[0] for x in fits), sum(x[1] for x in fits), sum(x[3] for x in fits)
        expected.append(log_integral_over_sigma(residual, n - 2 * len(PHI)) - 0.5 * volume)
        sums = points.sums(points.f**power)
        found.append(float(Collapsed("global", None).log_likelihood(sums, points.moments, 1.0)))
    assert found[1] - found[0] == pytest.approx(expected[1] - expected[0], abs=1e-7)


def test_shares_of_the_volume_add_up_to_one():
    points, collapsed = Points(), Collapsed("given", None)
    sums = points.sums(points.f)
    whole, none = (float(collapsed.log_likelihood(sums, points.moments, s)) for s in (1.0, 0.0))
    quarter = float(collapsed.log_likelihood(sums, points.moments, 0.25))
    assert 4 * (quarter - none) == pytest.approx(whole - none)


def test_an_angle_without_points_adds_nothing_and_has_a_gradient():
    points = Points()
    moments = Moments(points.moments.sums.copy(), points.moments.constant, points.moments.n_points.copy())
    moments.sums[2], moments.n_points[2] = 0.0, 0.0
    sums = points.sums(points.f).at[2].set(0.0)
    for noise in ("given", "global", "per_angle"):
        collapsed = Collapsed(noise, None)
        value, gradient = jax.value_and_grad(collapsed.log_likelihood)(sums, moments, 0.5)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


# A noise of every angle beside a scaling that angles share is refused at the door.
REDRAWN = {
    f"{noise}-{name}": (noise, basis)
    for noise in ("given", "global", "per_angle")
    for name, basis in BASES.items()
    if noise != "per_angle" or basis is None
}


@pytest.mark.parametrize("noise, basis", REDRAWN.values(), ids=REDRAWN)
def test_redraws_have_the_moments_of_the_linear_problem(noise, basis):
    points, n = Points(), 6000
    sums = np.broadcast_to(np.asarray(points.sums(points.f)), (n, len(PHI), 3))
    contrast, offset, factor = Collapsed(noise, basis).redraw(sums, points.moments, np.random.default_rng(2))
    fits = points.least_squares(points.f, basis)
    if basis is None:
        best = np.array([x[4] for x in fits])
        inverse = np.array([np.linalg.inv(x[5]) for x in fits])
        variance = np.stack([inverse[:, 0, 0], inverse[:, 1, 1]])
    else:
        half = basis.shape[1]
        best = np.stack([basis @ fits[0][4][:half], basis @ fits[0][4][half:]], 1)
        inverse = np.linalg.inv(fits[0][5])
        variance = np.stack(
            [
                np.einsum("ai,ij,aj->a", basis, inverse[s, s], basis)
                for s in (slice(0, half), slice(half, None))
            ]
        )
    residual = np.array([x[0] for x in fits])
    points_, used = np.array([x[3] for x in fits]), np.array([x[2] for x in fits])
    if noise == "given":
        scale = np.ones(len(PHI))
        assert (factor == 1).all()
    elif noise == "global":
        scale = np.full(len(PHI), residual.sum() / (points_.sum() - used.sum() - 2))
    else:
        scale = residual / (points_ - used - 2)
    np.testing.assert_allclose((factor**2).mean(0), scale, rtol=0.03)
    for values, k in ((contrast, 0), (offset - 1, 1)):
        sd = np.sqrt(scale * variance[k])
        assert (np.abs(values.mean(0) - best[:, k]) < 5 * sd / np.sqrt(n)).all()
        np.testing.assert_allclose(values.std(0), sd, rtol=0.05)


def test_collapsed_and_joint_density_agree():
    """The share of every f in a posterior over three of them, by a sum over drawn scalings and exactly."""
    points, rng = Points(n=6), np.random.default_rng(4)
    collapsed = Collapsed("given", None)
    exact, by_sum = [], []
    for power in (1.0, 1.2, 1.4):
        f = points.f**power
        exact.append(float(collapsed.log_likelihood(points.sums(f), points.moments, 1.0)))
        total = 0.0
        for a, (_, _, _, _, best, normal) in enumerate(points.least_squares(f, None)):
            inverse = 2.0 * np.linalg.inv(normal)
            x = rng.multivariate_normal(best, inverse, 20000)
            proposal = -0.5 * np.einsum("ni,ij,nj->n", x - best, np.linalg.inv(inverse), x - best)
            proposal -= 0.5 * np.linalg.slogdet(inverse)[1]
            r = points.y[a] - x[:, :1] * f[a] - x[:, 1:]
            total += logsumexp(-0.5 * (points.w[a] * r**2).sum(1) - proposal)
        by_sum.append(total)
    assert np.diff(by_sum) == pytest.approx(np.diff(exact), abs=0.1)
