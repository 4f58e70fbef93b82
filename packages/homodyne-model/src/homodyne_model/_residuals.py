"""Residuals of the full parameter vector, point by point, in chunks.

The normal equations replace them inside the fit. They are what a generic least-squares solver needs, what an independent check of
the fit minimises, and what codes that handle their own lists of points build on.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from homodyne_model._correlation import points_c2
from homodyne_model._transport import real_array
from homodyne_model._two_time_model import TwoTimeModel
from homodyne_model.errors import ModelError


class PointChunk(NamedTuple):
    """Points of a measurement, each a pair of frames at an angle.

    Attributes
    ----------
    angle, i, j : int arrays, (n_points,)
        Index of the angle, and of the two frames, in either order.
    c2 : (n_points,)
        Measured correlation. Points that are not finite are masked.
    sigma : (n_points,) or float
        Standard deviation of ``c2``, positive.
    """

    angle: np.ndarray
    i: np.ndarray
    j: np.ndarray
    c2: np.ndarray
    sigma: np.ndarray | float = 1.0


class _Residuals:
    """What both residual functions share: the checked chunks, and the meaning of the parameter vector."""

    def __init__(
        self, model: TwoTimeModel, chunks: Sequence[PointChunk], *, per_angle_scaling: bool = True
    ) -> None:
        if not chunks:
            raise ModelError("chunks is empty; expected at least one PointChunk.")
        self.model = model
        self.per_angle_scaling = per_angle_scaling
        self.chunks = tuple(_checked(model, k, chunk) for k, chunk in enumerate(chunks))
        seen = np.zeros(model.n_phi, dtype=bool)
        for chunk in self.chunks:
            seen[chunk.angle] = True
        if not seen.all():
            missing = np.flatnonzero(~seen)
            raise ModelError(
                f"no chunk holds an unmasked point of angle {', '.join(map(str, missing))}; its contrast and offset cannot be "
                "determined: leave the angle out of the model."
            )

    @property
    def n_points(self) -> int:
        """Number of unmasked points."""
        return sum(len(chunk.c2) for chunk in self.chunks)

    @property
    def n_parameters(self) -> int:
        """Length of the parameter vector."""
        return 2 * (self.model.n_phi if self.per_angle_scaling else 1) + self.model.n_physical

    def _split(self, params):
        if np.shape(params) != (self.n_parameters,):
            raise ModelError(
                f"params has shape {np.shape(params)}; expected ({self.n_parameters},): contrasts, offsets, then physical "
                "parameters."
            )
        params = real_array(params)
        n = (self.n_parameters - self.model.n_physical) // 2
        contrast, offset = (
            jnp.broadcast_to(part, (self.model.n_phi,)) for part in (params[:n], params[n : 2 * n])
        )
        return params[2 * n :], contrast, offset


class StratifiedResidualFunction(_Residuals):
    """Residuals (model - C2) / σ of chunks of points of any length.

    Parameters
    ----------
    model : TwoTimeModel
        Geometry and choices.
    chunks : sequence of PointChunk
        Chunks of any lengths; points whose ``c2`` is not finite are masked (left out).
    per_angle_scaling : bool
        Whether every angle has its own contrast and offset: the vector is ``[contrast_0.., offset_0.., *physical]``, otherwise
        ``[contrast, offset, *physical]``.

    Raises
    ------
    ModelError
        If a chunk is malformed, or an angle of the model has no point at all.

    Examples
    --------
    >>> import numpy as np
    >>> model = TwoTimeModel("static", q=0.005, t=np.arange(3) * 0.1, phi=[0.0])
    >>> chunk = PointChunk(np.zeros(3, int), np.array([1, 2, 2]), np.array([0, 0, 1]), np.ones(3))
    >>> StratifiedResidualFunction(model, [chunk])(np.array([0.0, 1.0, 100.0, 0.1, 0.0])).tolist()
    [0.0, 0.0, 0.0]
    """

    def __call__(self, params) -> np.ndarray:
        """Residuals (n_points,) of all chunks one after the other, in the dtype of ``params``."""
        physical, contrast, offset = self._split(params)
        return np.concatenate(
            [
                (np.asarray(_predict(self.model, physical, contrast, offset, c.angle, c.i, c.j)) - c.c2)
                / c.sigma
                for c in self.chunks
            ]
        ).astype(physical.dtype)


class StratifiedResidualFunctionJIT(_Residuals):
    """The same residuals with static shapes: chunks padded to one length, evaluated by ``vmap``, compiled once.

    Padding has weight zero, so its residuals and derivatives are exactly zero. The function can be differentiated and used
    inside other JAX transformations.

    Parameters
    ----------
    model, chunks, per_angle_scaling
        As for `StratifiedResidualFunction`.

    Raises
    ------
    ModelError
        As for `StratifiedResidualFunction`.
    """

    def __init__(
        self, model: TwoTimeModel, chunks: Sequence[PointChunk], *, per_angle_scaling: bool = True
    ) -> None:
        super().__init__(model, chunks, per_angle_scaling=per_angle_scaling)
        length = max(len(chunk.c2) for chunk in self.chunks)

        def padded(part, fill):
            return np.stack([np.pad(p, (0, length - len(p)), constant_values=fill) for p in part])

        self.padding = padded([np.zeros(len(c.c2), dtype=bool) for c in self.chunks], True)
        # Padding points at frame 0 of angle 0: finite there, and multiplied by zero.
        self._indices = tuple(
            padded([getattr(c, name) for c in self.chunks], 0) for name in ("angle", "i", "j")
        )
        self._c2 = padded([c.c2 for c in self.chunks], 0.0)
        self._inverse_sigma = padded([1 / c.sigma for c in self.chunks], 0.0)

    def __call__(self, params):
        """Residuals (n_chunks · length,); entries of the padding (``padding.ravel()``) are zero."""
        physical, contrast, offset = self._split(params)
        return _padded_residuals(
            self.model, physical, contrast, offset, self._indices, self._c2, self._inverse_sigma
        )


_predict = jax.jit(points_c2)


@jax.jit
def _padded_residuals(model, physical, contrast, offset, indices, c2, inverse_sigma):
    predict = jax.vmap(lambda angle, i, j: points_c2(model, physical, contrast, offset, angle, i, j))
    difference = predict(*indices) - jnp.asarray(c2, physical.dtype)
    return (difference * jnp.asarray(inverse_sigma, physical.dtype)).ravel()


def _checked(model: TwoTimeModel, number: int, chunk: PointChunk) -> PointChunk:
    """The chunk as arrays, without its masked points."""
    arrays = {}
    n = np.size(chunk.c2)
    for name, limit in (("angle", model.n_phi), ("i", model.n_t), ("j", model.n_t)):
        index = np.asarray(getattr(chunk, name))
        if index.shape != (n,) or not np.issubdtype(index.dtype, np.integer):
            raise ModelError(
                f"chunk {number}: {name} has shape {index.shape}, dtype {index.dtype}; expected {n} integers."
            )
        if n and not (0 <= index.min() and index.max() < limit):
            raise ModelError(
                f"chunk {number}: {name} runs from {index.min()} to {index.max()}; expected 0 to {limit - 1}."
            )
        arrays[name] = index
    c2 = np.asarray(chunk.c2, dtype=float)
    sigma = np.asarray(chunk.sigma, dtype=float)
    if c2.ndim != 1 or sigma.shape not in ((), (n,)):
        raise ModelError(
            f"chunk {number}: c2 has shape {c2.shape}, sigma {sigma.shape}; expected (n_points,) each."
        )
    sigma, keep = np.broadcast_to(sigma, (n,)), np.isfinite(c2)
    wrong = keep & ~(sigma > 0)
    if wrong.any():
        raise ModelError(
            f"chunk {number}: sigma is {sigma[wrong][0]:g} at point {np.argmax(wrong)}; expected positive numbers."
        )
    return PointChunk(**{name: index[keep] for name, index in arrays.items()}, c2=c2[keep], sigma=sigma[keep])
