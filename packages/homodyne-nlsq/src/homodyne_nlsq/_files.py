"""Result files: JSON for people and programs, arrays beside it."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from homodyne_data import atomic_path

SCHEMA = "homodyne-nlsq-result"
SCHEMA_VERSION = 3


def as_document(result) -> dict:
    """The result as nested dictionaries and lists of JSON types; what is not a finite number is None."""
    parameters = [
        {
            "name": name,
            "value": value,
            "uncertainty": error,
            "uncertainty_robust": robust,
            "uncertainty_hessian": hessian,
            "robust_over_hessian": ratio,
            "unit": unit,
            "fixed": bool(fixed),
            "at_bound": bound or None,
        }
        for name, value, error, robust, hessian, ratio, unit, fixed, bound in zip(
            result.names,
            result.parameters,
            result.uncertainties,
            *(np.sqrt(np.diag(result.covariances[kind])) for kind in ("robust", "hessian")),
            result.error_ratio,
            result.units,
            result.fixed,
            result.at_bound,
            strict=True,
        )
    ]
    n_scaling = 2 * result.n_phi
    curves = {"diffusion": result.diffusion, "shear": result.shear}
    document = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "convergence_status": result.convergence_status,
        "quality_flag": result.quality_flag,
        "success": result.success,
        "message": result.message,
        "warnings": result.warnings,
        "physical_parameters": parameters[n_scaling:],
        "angles": [
            {"phi": phi, "contrast": parameters[a], "offset": parameters[result.n_phi + a]}
            for a, phi in enumerate(result.phi)
        ],
        "chi_squared": result.chi_squared,
        "reduced_chi_squared": result.reduced_chi_squared,
        "loss": result.loss,
        "robust_cost": result.robust_cost,
        "n_points": result.n_points,
        "dof": result.dof,
        "sigma_source": result.sigma_source,
        "distance_to_optimum": {"value": result.distance, "unit": "standard errors"},
        "iterations": result.iterations,
        "execution_time": {"value": result.execution_time, "unit": "s"},
        "analysis_mode": result.analysis_mode,
        "shear_kernel": result.shear_kernel,
        "quadrature": result.quadrature,
        "per_angle_mode": result.per_angle_mode,
        "n_scaling": result.n_scaling,
        "anti_degeneracy": result.anti_degeneracy,
        "covariance_type": result.covariance_type,
        "cluster_window": {"value": result.cluster_window, "unit": "s"},
        "identifiability": _identifiability(result.identifiability),
        "search": None if result.search is None else asdict(result.search),
        "profile_likelihood": [vars(interval) for interval in result.profiles],
        "time_origin": result.time_origin,
        "q": {"value": result.q, "unit": "1/Å"},
        "L": {"value": result.L, "unit": "Å"},
        "frames": {"count": len(result.t), "first": result.t[0], "last": result.t[-1], "unit": "s"},
        "curves_at_t_mid": {
            name: {
                "t": result.t_mid,
                **dict(zip(("value", "uncertainty"), curve.at(result.t_mid), strict=True)),
                "unit": curve.unit,
            }
            for name, curve in curves.items()
            if curve is not None
        },
        "initial": result.initial,
        "settings": result.settings,
        "device_info": vars(result.device_info),
        "provenance": result.provenance,
        "versions": result.versions,
    }
    return _plain(document)


def _identifiability(report) -> dict | None:
    if report is None:
        return None
    return {
        "eigenvalues": report.eigenvalues,
        "undetermined": report.undetermined,
        "correlated": [{"parameters": [a, b], "correlation": r} for a, b, r in report.correlated],
        "combinations": [
            {"weights": dict(c.weights), "error": c.error, "words": c.words} for c in report.combinations
        ],
        "report": report.report(),
    }


def to_json(result) -> str:
    """JSON text of the result."""
    return json.dumps(as_document(result), indent=2, ensure_ascii=False, allow_nan=False)


def arrays_of(result, data) -> dict[str, np.ndarray]:
    """Arrays of the result; residuals only with the data."""
    arrays = {
        "parameters": result.parameters,
        "names": np.array(result.names),
        "uncertainties": result.uncertainties,
        "covariance": result.covariance,
        **{f"covariance_{kind}": matrix for kind, matrix in result.covariances.items()},
        "hessian_physical": result.hessian,
        "phi": result.phi,
        "t": result.t,
        "c2_fitted": result.fitted(),
    }
    for name, curve in (("diffusion", result.diffusion), ("shear", result.shear)):
        if curve is not None:
            arrays[name], arrays[f"{name}_error"] = curve.value, curve.error
    if data is not None:
        arrays["residuals"] = result.residuals(data)
    return arrays


def save(result, directory: Path, data, *, overwrite: bool) -> dict[str, Path]:
    """Write the files of `OptimizationResult.save`."""
    paths = {"result": directory / "result.json", "arrays": directory / "arrays.npz"}
    present = [str(path) for path in paths.values() if path.exists()]
    if present and not overwrite:
        raise FileExistsError(
            f"{', '.join(present)} exists; pass overwrite=True to replace it, or another directory."
        )
    text, arrays = to_json(result), arrays_of(result, data)
    directory.mkdir(parents=True, exist_ok=True)
    with atomic_path(paths["result"], overwrite=overwrite) as path:
        path.write_text(text, encoding="utf-8")
    with atomic_path(paths["arrays"], overwrite=overwrite) as path, open(path, "wb") as file:
        np.savez_compressed(file, **arrays)
    return paths


def _plain(value):
    """JSON types only; numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(v) for key, v in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    raise TypeError(f"{type(value).__name__} has no place in a result file")
