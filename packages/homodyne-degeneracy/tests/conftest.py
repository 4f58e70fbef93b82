"""Measurements whose every point is at hand, and least squares over them that share no code with the packages."""

from typing import NamedTuple

import numpy as np
import pytest
from scipy.linalg import block_diag


class Points(NamedTuple):
    """A model that is linear in its parameters p, f = base + slope · p, at the points of every angle.

    Attributes
    ----------
    base : (n_phi, n_points)
    slope : (n_phi, n_points, n_physical)
    y : (n_phi, n_points)
        C2.
    """

    base: np.ndarray
    slope: np.ndarray
    y: np.ndarray

    @property
    def count(self):
        return self.y.size

    def f(self, physical):
        return self.base + self.slope @ np.asarray(physical, dtype=float)

    def gram(self, physical):
        """What `homodyne_model.normal_equations` computes of a two-time map."""
        f = self.f(physical)
        columns = np.concatenate([self.slope, np.stack([f, np.ones_like(f), self.y - 1], axis=2)], axis=2)
        return np.einsum("apk,apl->akl", columns, columns)

    def residual(self, physical, contrast, offset):
        return (
            np.asarray(offset)[:, None] + np.asarray(contrast)[:, None] * self.f(physical) - self.y
        ).ravel()

    def columns(self, physical, contrast, basis=None):
        """Jacobian of all points: coefficients of contrast, of offset, physical parameters."""
        basis = np.eye(len(self.y)) if basis is None else basis
        f, n = self.f(physical), self.y.shape[1]
        scaling = [block_diag(*part) @ basis for part in (f[:, :, None], np.ones((len(f), n, 1)))]
        slope = (np.asarray(contrast)[:, None, None] * self.slope).reshape(-1, self.slope.shape[2])
        return np.concatenate([*scaling, slope], axis=1)


def make_points(
    n_phi=8, n_points=60, *, contrast=0.3, offset=1.1, sigma=0.01, seed=0, angular=True, apart=False
):
    """Decays with two physical parameters: one that all angles see alike and one that goes with cos²φ.

    What the parameters do resembles what contrast and offset do, as in decaying correlations, unless it is ``apart``.
    """
    rng = np.random.default_rng(seed)
    phi = np.linspace(-170.0, 170.0, n_phi)
    time = np.linspace(0.05, 3.0, n_points)
    base = np.broadcast_to(np.exp(-time), (n_phi, n_points))
    seen = np.cos(np.deg2rad(phi)) ** 2 if angular else np.ones(n_phi)
    shapes = (np.sin(5 * time), np.sin(8 * time)) if apart else (-time, -(time**2))
    slope = np.stack([base * shapes[0], seen[:, None] * base * shapes[1]], axis=2)
    points = Points(base, slope, base)
    clean = np.reshape(offset, (-1, 1)) + np.reshape(contrast, (-1, 1)) * base
    return phi, points._replace(y=clean + sigma * rng.normal(size=(n_phi, n_points)))


@pytest.fixture(scope="session")
def points():
    """Maker of angles [deg] and `Points`."""
    return make_points
