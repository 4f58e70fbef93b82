"""The arrays of a result where its maps are not written with them, or angle by angle."""

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from homodyne_cli._angles import fitted_map, one_angle, residual_map
from homodyne_data import TwoTimeData, TwoTimeStream, atomic_path
from homodyne_nlsq import OptimizationResult


def write_arrays(path: Path, result: OptimizationResult) -> None:
    """Write what `OptimizationResult.save` writes to ``arrays.npz``, without what has the size of the maps."""
    arrays = {
        "parameters": result.parameters,
        "names": np.array(result.names),
        "uncertainties": result.uncertainties,
        "covariance": result.covariance,
        **{f"covariance_{kind}": matrix for kind, matrix in result.covariances.items()},
        "hessian_physical": result.hessian,
        "phi": result.phi,
        "t": result.t,
    }
    for name, curve in (("diffusion", result.diffusion), ("shear", result.shear)):
        if curve is not None:
            arrays[name], arrays[f"{name}_error"] = curve.value, curve.error
    with atomic_path(path, overwrite=True) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)


def write_maps(
    data: TwoTimeData | TwoTimeStream,
    result: OptimizationResult,
    directory: Path,
    *,
    advance: Callable[[str], None],
) -> list[Path]:
    """Write fitted maps and residuals angle by angle, as float32 arrays (n_phi, n_t, n_t).

    Parameters
    ----------
    data : TwoTimeData or TwoTimeStream
        What was fitted.
    result : OptimizationResult
        The fit.
    directory : Path
        Existing folder for ``c2_fitted.npy`` and ``residuals.npy``, which replace files of those names.
    advance : callable (text) -> None
        Called before each angle.

    Returns
    -------
    list of Path
        The files.
    """
    paths = [directory / "c2_fitted.npy", directory / "residuals.npy"]
    n_phi, n_t = len(result.phi), len(result.t)
    with (
        atomic_path(paths[0], overwrite=True) as first,
        atomic_path(paths[1], overwrite=True) as second,
        open(first, "wb") as fitted_file,
        open(second, "wb") as residual_file,
    ):
        for file in (fitted_file, residual_file):
            _write_header(file, (n_phi, n_t, n_t))
        for angle in range(n_phi):
            advance(f"maps ({angle + 1} of {n_phi})")
            fitted = fitted_map(result, angle)
            residual = residual_map(one_angle(data, angle, result), fitted)
            fitted.tofile(fitted_file)
            residual.astype(np.float32, copy=False).tofile(residual_file)
    return paths


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    descr = np.lib.format.dtype_to_descr(np.dtype(np.float32))
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
