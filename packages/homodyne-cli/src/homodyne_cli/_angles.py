"""One angle at a time of what was measured and what was fitted, so that data of any size can be shown."""

import jax
import jax.numpy as jnp
import numpy as np

from homodyne_data import TwoTimeData, TwoTimeStream
from homodyne_model import TwoTimeModel, rows_c2
from homodyne_nlsq import OptimizationResult

_POINTS = 4_000_000  # computed at once


def one_angle(data: TwoTimeData | TwoTimeStream, angle: int, result: OptimizationResult) -> TwoTimeData:
    """Data of one angle with the σ of the fit; read now where the maps are in a file.

    Without σ where the fit took its default.
    """
    if isinstance(data, TwoTimeData):
        return data.select(angles=[angle])
    one = data.angle(angle)
    if one.sigma is None and result.sigma_source == "estimated":
        return one.with_estimated_sigma()
    return one


def fitted_map(result: OptimizationResult, angle: int) -> np.ndarray:
    """Fitted C2 of one angle, (n_t, n_t) float32."""
    n_t = len(result.t)
    n_rows = min(n_t, max(1, _POINTS // n_t))
    fitted = np.empty((n_t, n_t), dtype=np.float32)
    with jax.enable_x64(True):
        model = TwoTimeModel(
            result.analysis_mode,
            result.q,
            result.t,
            result.phi[[angle]],
            result.L,
            result.shear_kernel,
            result.quadrature,
        )
        physical = jnp.asarray(result.parameters[2 * len(result.phi) :])
        contrast, offset = (jnp.asarray(values[[angle]]) for values in (result.contrast, result.offset))
        for start in range(0, n_t, n_rows):
            # The last rows begin earlier, so that all blocks have one shape and are compiled once.
            first = min(start, n_t - n_rows)
            fitted[first : first + n_rows] = rows_c2(model, physical, contrast, offset, first, n_rows)[0]
    return fitted


def residual_map(one: TwoTimeData, fitted: np.ndarray) -> np.ndarray:
    """Measured minus fitted C2 of data of one angle where a point counts, NaN elsewhere, (n_t, n_t)."""
    return np.where(one.angle_mask(0), one.c2[0] - fitted, np.float32(np.nan))
