"""A posterior in words and columns."""

import numpy as np

from homodyne_model import PARAMETERS

_VERDICT = {
    "certified": "Certified",
    "not certified": "NOT CERTIFIED",
    "failed": "FAILED",
}
_NOISE = {
    "given": "σ given",
    "global": "one factor of σ inferred",
    "per_angle": "σ of every angle inferred",
}
_SCALING = {
    "individual": "a contrast and offset for every angle",
    "fourier": "contrast and offset as Fourier series in the angle",
    "constant": "one contrast and offset for all angles",
}
# Share of the draws near a bound above which the bound is named.
_AT_WALL = 0.02


def summary(result) -> str:
    """Text of `CMCResult.summary`."""
    attrs = result.tree.attrs
    lines = [
        f"{_VERDICT[result.status]}: {result.message}",
        f"{result.analysis_mode}, q = {attrs['q']:.5g} 1/Å, {result.n_points:,} points, method {result.method}"
        + (f", {result.n_shards} shards" if result.n_shards > 1 else ""),
        f"{_NOISE[attrs['noise']]}; {_SCALING[attrs['per_angle_mode']]}",
        f"certificate: k-hat {result.k_hat:.2f}, {result.ess:.0f} effective draws; {result.seconds['total']:.1f} s in all",
        *_shards(result),
    ]
    if result.posterior.sizes["draw"]:
        lines += ["", *_table(result), *_robust(result)]
    lines += [f"- {sentence}" for sentence in (*_walls(result), *result.warnings)]
    return "\n".join(lines)


def _shards(result) -> list[str]:
    if "shards" not in result.tree:
        return []
    shards = result.tree["shards"]
    words = [
        f"shards: R-hat up to {float(shards['r_hat'].max()):.3f}, at least {float(shards['ess_bulk'].min()):.0f} effective draws each, "
        f"{100 * float(shards['diverging'].mean()):.2g} % divergences, {float(shards['steps'].mean()):.1f} steps a draw"
    ]
    consensus = result.tree["consensus"].attrs
    if np.isfinite(consensus["q"]):
        words.append(
            f"agreement of the shards: Q = {consensus['q']:.4g} for {int(consensus['q_dof'])} degrees of freedom (p = {consensus['q_p']:.2g} for "
            "points of independent noise; points that share frames make it smaller)"
        )
    return words


def _table(result) -> list[str]:
    robust = result.robust_sd
    lines = [
        f"{'parameter':<20}{'mean':>13}{'sd':>11}"
        + (f"{'robust sd':>11}" if robust else "")
        + f"{'2.5 %':>13}{'97.5 %':>13}  unit"
    ]
    for name in result.physical_names:
        if name in result.fixed:
            lines.append(f"{name:<20}{result.fixed[name]:>13.6g}   held fixed")
            continue
        low, high = result.quantiles(name, (0.025, 0.975))
        lines.append(
            f"{name:<20}{result.mean[name]:>13.6g}{result.sd[name]:>11.3g}"
            + (f"{robust[name]:>11.3g}" if robust else "")
            + f"{low:>13.6g}{high:>13.6g}  {PARAMETERS[name].unit}".rstrip()
        )
    for name in ("contrast", "offset", "sigma"):
        if name in result.posterior:
            mean = result.posterior[name].mean(("chain", "draw"))
            sd = float(result.posterior[name].std(("chain", "draw")).median())
            lines.append(
                f"{name:<20}{float(mean.min()):>13.6g} to {float(mean.max()):.6g} over the angles, sd {sd:.2g} each"
            )
    return lines


def _robust(result) -> list[str]:
    draws = result.robust_posterior
    if draws is None or not draws.sizes["draw"]:
        return []
    lines = [
        "",
        f"widened to the clustered errors of the fit ({_VERDICT[draws.attrs['status']]}: k-hat {draws.attrs['k_hat']:.2f}, {draws.attrs['ess']:.0f} effective draws)",
    ]
    for name in result.physical_names:
        if name in result.fixed:
            continue
        values = result.values(name, robust=True)
        low, high = np.quantile(values, (0.025, 0.975))
        lines.append(
            f"{name:<20}{values.mean():>13.6g}{values.std():>11.3g}{low:>13.6g}{high:>13.6g}  {PARAMETERS[name].unit}".rstrip()
        )
    return lines


def _walls(result) -> list[str]:
    found = []
    for name in result.physical_names:
        for side, share in zip(("lower", "upper"), result.wall_share(name), strict=True):
            if share > _AT_WALL:
                found.append(
                    f"{100 * share:.0f} % of the draws of {name} are at its {side} bound: the bound decides the answer there."
                )
    return found
