"""Curve models: their cost by chunks of the data, and the local solver that refines them.

Chunks change nothing but memory. The cost adds the squares in blocks of fixed size, so a sum does not depend on where chunks end. The
streaming solver folds chunk after chunk of the Jacobian J and the residual r into the triangle R of a QR decomposition of [J r]: RᵀR holds
JᵀJ, Jᵀr and rᵀr, all that a Gauss-Newton step needs, in d + 1 rows, without the squared condition number of the sums themselves.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from homodyne_global._coordinates import SearchSpace
from homodyne_global._local import LocalSolution
from homodyne_global.errors import GlobalSearchError

BLOCK = 1024
# Arrays of the data's length that the evaluation of a candidate holds: model, residual, loss, and one for the model's own work.
ARRAYS = 4
# The step of a central difference balances the third root of rounding against curvature.
_STEP = np.finfo(float).eps ** (1 / 3)


def whole_blocks(size: int) -> int:
    """A number of points rounded up to whole blocks."""
    return max(1, -(-size // BLOCK)) * BLOCK


def loss_value(squares, loss: str, xp=np):
    """Loss of squared residuals, as SciPy's ``least_squares`` defines it."""
    if loss == "soft_l1":
        return 2.0 * (xp.sqrt(1.0 + squares) - 1.0)
    if loss == "huber":
        # Where the root is not used it is not taken of zero, whose derivative is infinite.
        return xp.where(squares <= 1.0, squares, 2.0 * xp.sqrt(xp.maximum(squares, 1.0)) - 1.0)
    return squares


def _loss_slope(squares: np.ndarray, loss: str) -> np.ndarray:
    if loss == "soft_l1":
        return 1 / np.sqrt(1 + squares)
    if loss == "huber":
        return 1 / np.sqrt(np.maximum(squares, 1))
    return np.ones_like(squares)


@dataclass(frozen=True)
class CurveData:
    """Checked data of a curve fit.

    Attributes
    ----------
    x : object
        What the model is given first.
    y, sigma : ndarray, (n,)
        Values and their standard deviations.
    absolute : bool
        Whether ``sigma`` was given; else it is 1, and the residuals tell how large the errors are.
    sliceable : bool
        Whether the last axis of ``x`` runs over the points, so that the model can be evaluated at some of them.
    """

    x: Any
    y: np.ndarray
    sigma: np.ndarray
    absolute: bool
    sliceable: bool

    @classmethod
    def checked(cls, xdata, ydata, sigma) -> "CurveData":
        """The data, refused with the name of what is wrong."""
        y = np.asarray(ydata, dtype=float)
        if y.ndim != 1 or y.size == 0:
            raise GlobalSearchError(
                f"ydata has the shape {y.shape}; expected one axis with a value per point."
            )
        spread = np.ones_like(y) if sigma is None else np.asarray(sigma, dtype=float)
        if spread.ndim == 0:
            spread = np.full_like(y, spread)
        if spread.shape != y.shape:
            raise GlobalSearchError(
                f"sigma has the shape {spread.shape}; expected that of ydata, {y.shape}, or one number."
            )
        for name, values, wrong, wanted in (
            ("ydata", y, ~np.isfinite(y), "finite numbers; leave masked points out"),
            ("sigma", spread, ~(np.isfinite(spread) & (spread > 0)), "finite numbers above 0"),
        ):
            if np.any(wrong):
                k = int(np.argmax(wrong))
                raise GlobalSearchError(
                    f"{name} has {values[k]} at point {k} ({np.sum(wrong)} such of {y.size}); expected {wanted}."
                )
        x = xdata
        if isinstance(xdata, list | np.ndarray):
            x = np.asarray(xdata)
            if np.issubdtype(x.dtype, np.floating):
                x = x.astype(float)
        shape = getattr(x, "shape", ())
        return cls(x, y, spread, sigma is not None, bool(shape) and shape[-1] == y.size)

    @property
    def size(self) -> int:
        """Number of points."""
        return self.y.size


@dataclass(frozen=True)
class Curve:
    """The weighted residuals of a model, and what is computed from them.

    Attributes
    ----------
    model : callable
        Of (x, *parameters).
    data : CurveData
        What it is fitted to.
    space : SearchSpace
        Bounds.
    loss : {"linear", "soft_l1", "huber"}
        Of the residuals.
    chunk : int
        Points at a time; whole blocks, or all.
    limit : int
        Bytes that the Jacobian may take.
    traced : bool
        Whether JAX can trace the model.
    """

    model: Callable
    data: CurveData
    space: SearchSpace
    loss: str
    chunk: int
    limit: int
    traced: bool

    @property
    def _jacobian_bytes(self) -> int:
        """What the whole Jacobian holds, with the residual, and twice as much for the factorization."""
        return 3 * 8 * self.data.size * (self.space.size + 1)

    def _chunks(self, size: int) -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
        data = self.data
        if size >= data.size:
            yield data.x, data.y, data.sigma
            return
        for k in range(0, data.size, size):
            part = slice(k, k + size)
            yield data.x[..., part], data.y[part], data.sigma[part]

    @cached_property
    def _value(self) -> Callable:
        import jax

        return jax.jit(lambda parameters, x: self.model(x, *parameters))

    @cached_property
    def _slope(self) -> Callable:
        import jax

        return jax.jit(jax.jacfwd(lambda parameters, x: self.model(x, *parameters)))

    @staticmethod
    def _compiled(function: Callable, parameters: np.ndarray, x) -> np.ndarray:
        import jax

        with jax.enable_x64(True):
            return np.asarray(function(parameters, x))

    def _weighted(self, parameters: np.ndarray, x, y: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        if self.traced:
            value = self._compiled(self._value, parameters, x)
        else:
            value = np.asarray(self.model(x, *parameters))
        if value.shape != y.shape:
            raise GlobalSearchError(
                f"model_func returned an array of shape {value.shape}; expected {y.shape}, a value per point."
            )
        return (value - y) / sigma

    def _jacobian(self, parameters: np.ndarray, x, y: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        if self.traced:
            return self._compiled(self._slope, parameters, x) / sigma[:, None]
        columns = []
        for k, value in enumerate(parameters):
            step = _STEP * max(abs(value), 1e-3 * (self.space.upper[k] - self.space.lower[k]))
            # Both ends stay within the bounds, where alone the model must be defined.
            ends = np.clip([value - step, value + step], self.space.lower[k], self.space.upper[k])
            low, high = parameters.copy(), parameters.copy()
            low[k], high[k] = ends
            difference = self._weighted(high, x, y, sigma) - self._weighted(low, x, y, sigma)
            columns.append(difference / (ends[1] - ends[0]))
        return np.stack(columns, axis=1)

    def cost(self, parameters: np.ndarray, loss: str | None = None) -> float:
        """Sum of the losses of all residuals at parameters."""
        sums = []
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for part in self._chunks(self.chunk):
                values = loss_value(self._weighted(parameters, *part) ** 2, loss or self.loss)
                sums.append(np.pad(values, (0, -values.size % BLOCK)).reshape(-1, BLOCK).sum(axis=1))
            return float(np.concatenate(sums).sum())

    def traced_cost(self, parameters, data):
        """The same under a JAX transformation; ``data`` are those of `chunked`."""
        import jax
        import jax.numpy as jnp

        def of_chunk(part):
            x, y, sigma, inside = part
            value = self.model(x, *parameters)
            if value.shape != y.shape:
                raise GlobalSearchError(
                    f"model_func returned an array of shape {value.shape}; expected {y.shape}."
                )
            losses = jnp.where(inside, loss_value(((value - y) / sigma) ** 2, self.loss, jnp), 0.0)
            return jnp.sum(jnp.pad(losses, (0, -losses.size % BLOCK)).reshape(-1, BLOCK), axis=1)

        return jnp.sum(of_chunk(data) if self.chunk >= self.data.size else jax.lax.map(of_chunk, data))

    def chunked(self) -> tuple:
        """The data for `traced_cost`, in chunks of equal length: repetitions of the last point, marked as outside, fill the last one."""
        data = self.data
        if self.chunk >= data.size:
            return data.x, data.y, data.sigma, np.ones(data.size, dtype=bool)
        rows = np.arange(-(-data.size // self.chunk) * self.chunk).reshape(-1, self.chunk)
        inside = rows < data.size
        rows = np.minimum(rows, data.size - 1)
        return np.moveaxis(np.asarray(data.x)[..., rows], -2, 0), data.y[rows], data.sigma[rows], inside

    def solve(self, start, *, ftol, xtol, gtol, max_nfev, loss, workflow) -> LocalSolution:
        """SciPy's trust region from a start, on all residuals at once or on their compression."""
        from scipy.optimize import least_squares

        lower, upper = self.space.lower, self.space.upper
        large = self.data.sliceable and self._jacobian_bytes > self.limit
        if workflow == "streaming" or (workflow == "auto" and large):
            compressed = _Compressed(self)
            fun, jac, inner = compressed.residual, compressed.jacobian, "linear"
        else:
            whole = self.data.x, self.data.y, self.data.sigma
            fun, jac, inner = (
                (lambda p: self._weighted(p, *whole)),
                (lambda p: self._jacobian(p, *whole)),
                loss,
            )
        found = least_squares(
            fun,
            start,
            jac,
            bounds=(lower, upper),
            x_scale="jac",
            loss=inner,
            ftol=ftol,
            xtol=xtol,
            gtol=gtol,
            max_nfev=max_nfev,
        )
        covariance, words = self.covariance(found.x)
        message = " ".join([f"Refinement: {found.message}", *words])
        return LocalSolution(found.x, self.cost(found.x), covariance, bool(found.success), message)

    def triangle(self, parameters: np.ndarray) -> tuple[np.ndarray, float]:
        """R of [J r], weighted by the slope of the loss, and by how much the loss exceeds the weighted squares."""
        n = self.space.size
        triangle, excess = np.zeros((0, n + 1)), 0.0
        size = self.chunk
        if self.data.sliceable:
            size = min(size, whole_blocks(self.limit * self.data.size // self._jacobian_bytes))
        for part in self._chunks(size):
            residual = self._weighted(parameters, *part)
            squares = residual**2
            slope = _loss_slope(squares, self.loss)
            excess += float(np.sum(loss_value(squares, self.loss) - slope * squares))
            rows = np.column_stack([self._jacobian(parameters, *part), residual]) * np.sqrt(slope)[:, None]
            triangle = np.linalg.qr(np.concatenate([triangle, rows]), mode="r")
        # Fewer points than parameters make fewer rows.
        return np.pad(triangle, ((0, n + 1 - len(triangle)), (0, 0))), excess

    def covariance(self, parameters: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """Inverse of the Gauss-Newton curvature, and words on what it does not hold.

        Parameters at a bound are taken as fixed there, and have NaN. Those that the data do not determine have an infinite variance.
        """
        n = self.space.size
        jacobian = self.triangle(parameters)[0][:, :n]
        width = self.space.upper - self.space.lower
        free = (parameters - self.space.lower > 1e-9 * width) & (self.space.upper - parameters > 1e-9 * width)
        covariance, words = np.full((n, n), np.nan), []
        if not np.all(free):
            words.append(f"Parameters {np.flatnonzero(~free).tolist()} lie at a bound.")
        norm = np.linalg.norm(jacobian, axis=0)
        known = free & (norm > 0)
        _, values, rows = np.linalg.svd(jacobian[:, known] / norm[known], full_matrices=False)
        weak = values <= values.max(initial=0.0) * n * np.finfo(float).eps ** 0.5
        lost = np.zeros(n, dtype=bool)
        # A direction without curvature takes every parameter that has a part in it along.
        lost[np.flatnonzero(known)] = np.any(np.abs(rows[weak]) > 1e-3, axis=0)
        lost |= free & (norm == 0)
        inverse = (rows[~weak].T / values[~weak] ** 2) @ rows[~weak]
        scale = norm[known]
        variance = 1.0
        if not self.data.absolute:
            spare = self.data.size - n
            variance = self.cost(parameters, "linear") / spare if spare > 0 else np.nan
        covariance[np.ix_(known, known)] = inverse / np.outer(scale, scale) * variance
        covariance[lost, :] = covariance[:, lost] = np.nan
        covariance[lost, lost] = np.inf
        if np.any(lost):
            words.append(f"The data do not determine the parameters {np.flatnonzero(lost).tolist()}.")
        return covariance, words


class _Compressed:
    """Residual of d + 1 entries with the curvature, the gradient and the sum of losses of all residuals."""

    def __init__(self, curve: Curve) -> None:
        self._curve = curve
        self._at = self._triangle = None
        self._excess = 0.0

    def _compress(self, parameters: np.ndarray) -> None:
        if self._at is None or not np.array_equal(self._at, parameters):
            self._triangle, self._excess = self._curve.triangle(parameters)
            self._at = parameters.copy()

    def residual(self, parameters: np.ndarray) -> np.ndarray:
        """The last column of R, with the whole loss as the sum of its squares.

        The entry that no parameter moves takes what the loss has beyond the weighted squares. That is never negative: a loss that grows slower
        than squares lies above its slope times the squares.
        """
        self._compress(parameters)
        column = self._triangle[:, -1].copy()
        column[-1] = np.sqrt(column[-1] ** 2 + max(0.0, self._excess))
        return column

    def jacobian(self, parameters: np.ndarray) -> np.ndarray:
        """The other columns of R."""
        self._compress(parameters)
        return self._triangle[:, :-1]
