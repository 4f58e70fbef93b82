"""A reference fit that shares no code with the packages: every point, every parameter, SciPy on the full residual."""

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
from scipy.optimize import least_squares

from homodyne_data import TwoTimeData
from homodyne_model.testing import colloid, rheometer_flow

# Sizes that bring the physical parameters to order one; x_scale="jac" does the rest.
_SIZE = np.array([1e4, 1.0, 1e3, 1e-3, 1.0, 1e-3, 1.0])


def _integrals(rate0, exponent, t):
    """Cumulative trapezoids of t^p and t^p log t, the power taken at max(t, dt/2), and the elapsed time."""
    time = np.maximum(t, (t[1] - t[0]) / 2)
    power = time**exponent
    steps = [
        np.diff(t) * (y[1:] + y[:-1]) / 2 for y in (power, rate0 * power * np.log(time), np.ones_like(t))
    ]
    return np.stack([np.concatenate([[0.0], np.cumsum(s)]) for s in steps])


def squared_g1(theta, q, t, phi, L=None, kernel="gap_average", pairs=None):
    """f = g1² and its derivatives straight from the formulas, at pairs of frames (i, j) or on the whole grid.

    Shapes are (n_phi, *pairs) and (n_phi, *pairs, n_physical).
    """
    i, j = np.indices((len(t), len(t))) if pairs is None else pairs
    later, earlier = np.maximum(i, j), np.minimum(i, j)
    basis = _integrals(theta[0], theta[1], t)
    basis = basis[:, later] - basis[:, earlier]
    decay = np.exp(-(q**2) * (theta[0] * basis[0] + theta[2] * basis[2]))
    f = np.broadcast_to(decay, (len(phi), *decay.shape))
    if len(theta) == 3:
        return f, -(q**2) * f[..., None] * np.moveaxis(basis, 0, -1)
    scale, power = {"gap_average": (0.5, 2), "homodyne2": (1 / (2 * np.pi), 4)}[kernel]
    strain = _integrals(theta[3], theta[4], t)
    strain = strain[:, later] - strain[:, earlier]
    total = theta[3] * strain[0] + theta[5] * strain[2]
    angle = np.deg2rad(theta[6] - np.asarray(phi)).reshape(-1, *[1] * decay.ndim)
    k = scale * q * L * np.cos(angle)
    x = k * total
    safe = np.where(np.abs(x) < 1e-3, 1.0, x)
    near = np.abs(x) < 1e-3
    sinc = np.where(near, 1 - x**2 / 6 + x**4 / 120, np.sin(safe) / safe)
    slope = np.where(near, -x / 3 + x**3 / 30, np.cos(safe) / safe - np.sin(safe) / safe**2)
    f = decay * sinc**power
    v = decay * power * sinc ** (power - 1) * slope
    columns = [-(q**2) * f * b for b in basis] + [v * k * s for s in strain]
    columns.append(v * -scale * q * L * np.sin(angle) * total * np.pi / 180)
    return f, np.stack(columns, axis=-1)


class Fit(NamedTuple):
    """Full parameter vector, χ², standard errors (NaN where fixed or at a bound), and how far Newton still wants to go."""

    parameters: np.ndarray
    chi_squared: float
    errors: np.ndarray
    distance: float


def fit_all_points(
    data, mask, sigma, start, *, common=False, kernel="gap_average", bounds=None, fixed=(), rescale=False
) -> Fit:
    """Bounded least squares over contrasts, offsets and physical parameters at once.

    Parameters
    ----------
    data : object with c2, phi, t, q, L
    mask : (n_phi, n_t, n_t) bool
        Points that count.
    sigma : array_like that broadcasts to the maps
    start : (size,)
        Full parameter vector, the held values included.
    common : bool
        One contrast and offset for all angles.
    bounds : mapping of index to (lower, upper), optional
    fixed : sequence of int
        Indices that keep their start values.
    rescale : bool
        Multiply the covariance by the reduced χ².
    """
    n_phi, bounds = len(data.phi), dict(bounds or {})
    which = np.nonzero(mask)
    y = np.asarray(data.c2, float)[which]
    s = np.broadcast_to(np.asarray(sigma, float), mask.shape)[which]
    angle = which[0]
    grid = np.nonzero(mask.any(axis=0))
    column = np.zeros(mask.shape[1:], dtype=int)
    column[grid] = np.arange(len(grid[0]))
    column = column[which[1:]]
    start = np.asarray(start, float)
    n_physical = len(start) - 2 * n_phi
    # Column k of `spread` tells which entries of the full vector the k-th variable moves.
    spread = np.eye(len(start))
    if common:
        pairs = np.zeros((len(start), 2))
        pairs[:n_phi, 0] = pairs[n_phi : 2 * n_phi, 1] = 1
        spread = np.concatenate([pairs, spread[:, 2 * n_phi :]], axis=1)
    held = np.zeros(len(start), dtype=bool)
    held[list(fixed)] = True
    spread = spread[:, ~(spread.astype(bool) & held[:, None]).any(axis=0)]
    size = spread.T @ np.concatenate([np.ones(2 * n_phi), _SIZE[:n_physical]]) / spread.sum(axis=0)
    first = spread.argmax(axis=0)
    box = np.array([bounds.get(int(k), (-np.inf, np.inf)) for k in first]).T / size
    base = np.where(spread.any(axis=1), 0.0, start)

    def full(u):
        return base + spread @ (u * size)

    last = {}

    def both(u):
        if not np.array_equal(last.get("u"), u):
            last.update(u=u.copy(), values=evaluate(u))
        return last["values"]

    def evaluate(u):
        p = full(u)
        f, df = squared_g1(p[2 * n_phi :], data.q, data.t, data.phi, data.L, kernel, grid)
        f, df = f[angle, column], df[angle, column]
        contrast, offset = p[:n_phi][angle], p[n_phi : 2 * n_phi][angle]
        full_jacobian = np.zeros((len(y), len(p)))
        full_jacobian[np.arange(len(y)), angle] = f
        full_jacobian[np.arange(len(y)), n_phi + angle] = 1
        full_jacobian[:, 2 * n_phi :] = contrast[:, None] * df
        return (offset + contrast * f - y) / s, full_jacobian @ (spread * size) / s[:, None]

    u = np.clip(start[first] / size, *box)
    tolerances = {"ftol": 1e-8, "xtol": 1e-8, "gtol": 1e-8}
    found = least_squares(
        lambda u: both(u)[0],
        u,
        lambda u: both(u)[1],
        bounds=box,
        x_scale="jac",
        max_nfev=400,
        method="dogbox" if np.isfinite(box).any() else "trf",
        **tolerances,
    )
    # The last digits by Newton steps over what is not at a bound.
    u = found.x
    active = (u <= box[0]) | (u >= box[1])
    for _ in range(30):
        residual, jacobian = both(u)
        q, r = np.linalg.qr(jacobian[:, ~active])
        if np.linalg.norm(q.T @ residual) < 1e-7 * np.linalg.norm(residual) / np.sqrt(len(y)):
            break
        step = np.linalg.solve(r, q.T @ residual)
        u[~active] = np.clip(u[~active] - step, *box[:, ~active])
    residual, jacobian = both(u)
    q, r = np.linalg.qr(jacobian[:, ~active])
    chi_squared = float(residual @ residual)
    inverse = np.linalg.inv(r)
    noise = chi_squared / (len(y) - len(u)) if rescale else 1.0
    covariance = np.full((len(u), len(u)), np.nan)
    covariance[np.ix_(~active, ~active)] = noise * inverse @ inverse.T
    errors = np.full(len(start), np.nan)
    for k in range(len(u)):
        errors[spread[:, k] > 0] = np.sqrt(covariance[k, k]) * size[k]
    distance = float(np.linalg.norm(q.T @ residual) / np.sqrt(noise if rescale else 1.0))
    return Fit(full(u), chi_squared, errors, distance)


@pytest.fixture(scope="session")
def reference():
    """The reference model and fit."""
    return SimpleNamespace(squared_g1=squared_g1, fit=fit_all_points)


def _as_data(truth, *, sigma=0.02, seed=1, given=True, maps=None, **keywords) -> TwoTimeData:
    model = truth.model
    c2 = truth.noisy_maps(sigma, seed=seed) if maps is None else maps
    return TwoTimeData(c2, model.phi, model.t, model.q, model.L, sigma=sigma if given else None, **keywords)


@pytest.fixture(scope="session")
def as_data():
    """Noisy two-time data of a `homodyne_model.testing.Measurement`."""
    return _as_data


@pytest.fixture(scope="session")
def flow():
    """Truth and data of little noise of a small laminar flow: 5 angles, 40 frames."""
    truth = rheometer_flow(5, 40)
    return SimpleNamespace(truth=truth, data=_as_data(truth, sigma=0.005))


@pytest.fixture(scope="session")
def rest():
    """Truth and noisy data of a small static measurement: 3 angles, 60 frames."""
    truth = colloid(3, 60)
    return SimpleNamespace(truth=truth, data=_as_data(truth))
