"""The result in words and columns."""

import numpy as np

_VERDICT = {
    "converged": "Converged",
    "partial": "NOT CONVERGED (better than the start, but not at the optimum)",
    "failed": "FAILED (no better point than the start was found)",
}
_SIGMA = {
    "given": "σ given",
    "estimated": "σ estimated from the scatter of the data; errors scaled by the root of reduced χ²",
    "default": "σ GUESSED at 1 %; errors scaled by the root of reduced χ²",
}


def summary(result) -> str:
    """Text of `OptimizationResult.summary`."""
    lines = [
        f"{_VERDICT[result.convergence_status]}; quality {result.quality_flag}. {result.message}",
        f"{result.analysis_mode}, q = {result.q:.5g} 1/Å, {result.n_phi} angles, {len(result.t)} frames, "
        f"{result.n_points:,} points, {result.dof:,} degrees of freedom",
        f"χ² = {result.chi_squared:.6g}, reduced χ² = {result.reduced_chi_squared:.4g} ({_SIGMA[result.sigma_source]})",
        *_robust(result),
        _scaling(result),
        _errors(result),
        *_search(result.search),
        f"{result.iterations} passes in {result.execution_time:.2f} s, {result.device_info.peak_memory_gb:.2f} GB",
        "",
        f"{'parameter':<20}{'value':>13}  {'uncertainty':<20}unit",
    ]
    first = 2 * result.n_phi
    for k in range(first, len(result.names)):
        lines.append(_row(result, k, result.names[k]))
    for name, curve in (("D(t_mid)", result.diffusion), ("shear rate(t_mid)", result.shear)):
        if curve is not None:
            value, error = curve.at(result.t_mid)
            lines.append(
                f"{name:<20}{value:>13.6g}  {_error(error):<20}{curve.unit}  at t = {result.t_mid:.4g} s"
            )
    for kind, start in (("contrast", 0), ("offset", result.n_phi)):
        values, errors = (v[start : start + result.n_phi] for v in (result.parameters, result.uncertainties))
        quoted = errors[np.isfinite(errors)]
        typical = f"± {np.median(quoted):.2g} each" if quoted.size else "no error bars"
        lines.append(f"{kind:<20}{values.min():>13.4g}  to {values.max():.4g} over the angles, {typical}")
    if result.profiles:
        lines += ["", *(_interval(interval) for interval in result.profiles)]
    if result.warnings:
        lines += ["", *(f"- {sentence}" for sentence in result.warnings)]
    if said := _determined(result):
        lines += ["", "What the data determine:", *(f"- {sentence}" for sentence in said)]
    return "\n".join(lines)


def _scaling(result) -> str:
    names = {
        "individual": "a contrast and offset for every angle",
        "fourier": "contrast and offset as Fourier series in the angle",
        "constant": "one contrast and offset for all angles",
    }
    return f"scaling: {names[result.per_angle_mode]} ({result.n_scaling} parameters)"


def _search(search) -> list[str]:
    if search is None:
        return []
    if search.method == "local":
        return [f"no global search: {search.choice}"]
    won = {
        "start": "nothing better than the start was found",
        "search": "the search ended at the minimum",
        "refinement": "refined on all the data",
    }
    lines = [f"global search: {search.message} {won[search.stage][0].upper()}{won[search.stage][1:]}."]
    for number, minimum in enumerate(search.minima, start=1):
        values = ", ".join(f"{name} {value:.4g}" for name, value in minimum.physical.items())
        more = ("" if number == 1 else f", {minimum.distance:.3g} standard deviations from the first") + (
            "" if minimum.refined else ", of the averages only"
        )
        lines.append(
            f"  minimum {number}: χ² {minimum.chi_squared:.8g}, from {minimum.count} starts{more}: {values}"
        )
    return lines


def _errors(result) -> str:
    if result.covariance_type == "hessian":
        return "error bars: from the curvature, points taken for independent"
    ratio = result.error_ratio[2 * result.n_phi :]
    times = (
        f", {np.nanmedian(ratio):.2g} times those of independent points" if np.isfinite(ratio).any() else ""
    )
    return f"error bars: from scores clustered by frame{times}"


def _interval(interval) -> str:
    if np.isnan(interval.lower):
        return f"- {interval.note}"
    note = f" ({interval.note})" if interval.note else ""
    unit = f" {interval.unit}" if interval.unit else ""
    limits = f"{interval.lower:.6g} to {interval.upper:.6g}{unit}"
    return f"{interval.name}, {100 * interval.level:g} % by profile likelihood: {limits}{note}"


def _determined(result) -> list[str]:
    """What the report adds to the warnings, which hold what is wrong already."""
    if result.identifiability is None:
        return []
    return [sentence for sentence in result.identifiability.report() if sentence not in result.warnings]


def _robust(result) -> list[str]:
    if result.robust_cost is None:
        return []
    return [f"{result.loss} loss = {result.robust_cost:.6g}; χ² is unweighted, errors allow for the loss"]


def _row(result, k: int, name: str) -> str:
    if result.fixed[k]:
        note = "fixed"
    elif result.at_bound[k]:
        note = f"at its {result.at_bound[k]} bound"
    elif np.isnan(result.uncertainties[k]):
        note = "not determined"
    else:
        note = _error(result.uncertainties[k])
    return f"{name:<20}{result.parameters[k]:>13.6g}  {note:<20}{result.units[k]}".rstrip()


def _error(error: float) -> str:
    if error == 0:  # of a curve whose parameters are all fixed
        return "fixed"
    return f"± {error:.2g}" if np.isfinite(error) else "not determined"
