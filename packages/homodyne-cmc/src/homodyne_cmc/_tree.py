"""The result as a data tree in ArviZ conventions: groups, dimensions and units."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from homodyne_cmc._certificate import Certificate, sd_errors, weighted_moments
from homodyne_cmc._consensus import Consensus
from homodyne_cmc._coordinates import wrapped_direction
from homodyne_cmc._input import Request
from homodyne_cmc._mode import Start
from homodyne_cmc._nuts import ShardDraws, anchor_strength
from homodyne_cmc._posterior import ExactPosterior
from homodyne_cmc._predictive import predictive_groups
from homodyne_cmc._remarks import heavy_tails, narrower_than_the_fit
from homodyne_cmc._shards import ShardSet
from homodyne_model import PARAMETERS

SCHEMA, SCHEMA_VERSION = "homodyne-cmc-result", 1
_PRIOR_DRAWS = 1000


@dataclass(frozen=True)
class Run:
    """Everything that a run found, before it is put in order."""

    data: object
    request: Request
    shards: ShardSet
    start: Start
    draws: Sequence[ShardDraws]
    consensus: Consensus | None
    certificate: Certificate
    robust: Certificate | None
    posterior: ExactPosterior
    status: str
    message: str
    notes: tuple[str, ...]
    seconds: Mapping[str, float]
    versions: Mapping[str, str]


def build_tree(run: Run, rng: np.random.Generator) -> xr.DataTree:
    """The tree; ``rng`` resamples the certificate's draws and draws from the prior."""
    groups = {"/": xr.Dataset(attrs=_attributes(run)), **_posterior(run, rng)}
    groups["prior"] = _prior(run, rng)
    groups |= predictive_groups(
        run.start.problem.model,
        run.shards,
        run.data,
        groups["posterior"],
        known_noise=run.request.known_noise,
    )
    groups["constant_data"] = _constant(run)
    groups["certificate"] = _certificate(run)
    if run.draws:
        groups["shards"] = _shards(run)
    if run.consensus is not None:
        groups["consensus"] = _consensus(run, rng)
    if run.robust is not None:
        groups["posterior_robust"] = _posterior_robust(run, rng)
    if run.request.warm is not None:
        groups["warm_start"] = _warm_start(run)
    return xr.DataTree.from_dict(groups)


def _names(run: Run) -> tuple[str, ...]:
    return run.start.problem.model.analysis_mode.physical_names


def _attributes(run: Run) -> dict:
    config = run.request.config
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "status": run.status,
        "message": run.message,
        "warnings": json.dumps([*run.notes, *_remarks(run)], ensure_ascii=False),
        "method": config.method,
        "analysis_mode": config.analysis_mode,
        "shear_kernel": config.shear_kernel,
        "quadrature": config.quadrature,
        "noise": config.noise,
        "per_angle_mode": config.per_angle_mode,
        "n_shards": len(run.shards),
        "n_points": run.shards.n_points,
        "q": float(run.data.q),
        "L": np.nan if run.data.L is None else float(run.data.L),
        "time_origin": str(run.data.time_origin),
        "source": str(run.data.provenance.source),
        "settings": json.dumps(config.to_mapping()),
        "seconds": json.dumps(run.seconds),
        "versions": json.dumps(run.versions),
    }


def _natural(names: Sequence[str], physical, dims: tuple[str, ...]) -> dict[str, xr.DataArray]:
    """One variable a parameter, with its unit; the direction of the flow wrapped."""
    found = {}
    for k, name in enumerate(names):
        values = wrapped_direction(physical[..., k]) if name == "phi0" else physical[..., k]
        found[name] = xr.DataArray(values, dims=dims, attrs={"units": PARAMETERS[name].unit})
    return found


def _posterior(run: Run, rng) -> dict[str, xr.Dataset]:
    n_phi, names = run.data.n_phi, _names(run)
    if np.isfinite(run.certificate.log_weights).any():
        picks = run.certificate.resample(rng, run.request.config.certificate_draws)
        physical = run.posterior.physical(run.certificate.z[picks])
        density, scaling = (
            part[..., picks] if part.ndim == 1 else part[:, picks] for part in run.posterior.drawn()
        )
        density = density - density.max()
    else:
        picks = np.empty(0, dtype=int)
        physical, density, scaling = np.empty((0, len(names))), np.empty(0), np.empty((3, 0, n_phi))
    dims = ("chain", "draw", "angle")
    variables = _natural(names, physical[None], dims[:2])
    variables["contrast"], variables["offset"] = (xr.DataArray(part[None], dims=dims) for part in scaling[:2])
    config = run.request.config
    if config.noise != "given":
        # Points weigh 1: the factor of the noise is the noise.
        variables["sigma"] = xr.DataArray(scaling[2][None], dims=dims)
    coordinates = {
        "chain": [0],
        "draw": np.arange(len(picks)),
        "phi": ("angle", run.data.phi, {"units": "deg"}),
    }
    posterior = xr.Dataset(variables, coordinates, attrs={"inference_library": "homodyne-cmc"})
    stats = xr.Dataset(
        {"lp": (("chain", "draw"), density[None])}, {"chain": [0], "draw": np.arange(len(picks))}
    )
    return {"posterior": posterior, "sample_stats": stats}


def _prior(run: Run, rng) -> xr.Dataset:
    priors = run.start.problem.priors
    variables = _natural(_names(run), priors.draw(rng, _PRIOR_DRAWS)[None], ("chain", "draw"))
    scaling = run.request.scaling_priors().draw(rng, _PRIOR_DRAWS)
    for k, name in enumerate(("contrast", "offset")):
        variables[name] = xr.DataArray(scaling[None, :, k], dims=("chain", "draw"))
    return xr.Dataset(variables, {"chain": [0], "draw": np.arange(_PRIOR_DRAWS)})


def _constant(run: Run) -> xr.Dataset:
    found = {"t": ("frame", run.data.t, {"units": "s"}), "phi": ("angle", run.data.phi, {"units": "deg"})}
    if run.shards.sigma is not None:
        found["sigma"] = ("angle", run.shards.sigma)
    return xr.Dataset(found)


def _certificate(run: Run) -> xr.Dataset:
    certificate, names = run.certificate, run.start.problem.coordinates.names
    rounds = {
        name: ("round", np.array([getattr(found, name) for found in certificate.rounds]))
        for name in ("k_hat", "ess", "moved")
    }
    return xr.Dataset(
        {
            **rounds,
            "z": (("proposal", "coordinate"), certificate.z),
            "log_weight": ("proposal", certificate.log_weights),
            "center": ("coordinate", run.start.mu),
            "root": (("coordinate", "coordinate_"), run.start.root),
            "mean": ("coordinate", certificate.mean),
            "covariance": (("coordinate", "coordinate_"), certificate.covariance),
            "sd_error": ("parameter", _sd_errors(run)),
        },
        {"coordinate": list(names), "coordinate_": list(names), "parameter": list(_names(run))},
        attrs={
            "t_ref": list(run.start.problem.coordinates.t_refs),
            "share_width": list(run.start.problem.coordinates.widths),
        },
    )


def _sd_errors(run: Run) -> np.ndarray:
    """Relative errors of the standard deviations of the natural parameters; NaN without draws."""
    used = np.isfinite(run.certificate.log_weights)
    if not used.any():
        return np.full(len(_names(run)), np.nan)
    errors = sd_errors(run.posterior.physical(run.certificate.z[used]), run.certificate.log_weights[used])
    return np.where(run.start.problem.coordinates.free, errors, 0.0)


def _remarks(run: Run) -> list[str]:
    used = np.isfinite(run.certificate.log_weights)
    if not used.any():
        return []
    found = heavy_tails(_names(run), _sd_errors(run))
    warm = run.request.warm
    if warm is not None and warm.robust is not None:
        physical = run.posterior.physical(run.certificate.z[used])
        covariance = weighted_moments(physical, run.certificate.log_weights[used])[1]
        sd = np.sqrt(np.maximum(np.diag(covariance), 0.0)) * run.start.problem.coordinates.free
        found += narrower_than_the_fit(_names(run), sd, warm.robust_sd, widened=run.robust is not None)
    return found


def _posterior_robust(run: Run, rng) -> xr.Dataset:
    """Draws of the widened posterior, and whether they can be trusted."""
    robust = run.robust
    count = run.request.config.certificate_draws if np.isfinite(robust.log_weights).any() else 0
    picks = robust.resample(rng, count) if count else np.empty(0, dtype=int)
    physical = run.posterior.physical(robust.z[picks])
    return xr.Dataset(
        _natural(_names(run), physical[None], ("chain", "draw")),
        {"chain": [0], "draw": np.arange(count)},
        attrs={
            "status": "certified" if robust.certified else "not certified",
            "message": robust.message,
            "k_hat": robust.rounds[-1].k_hat,
            "ess": robust.rounds[-1].ess,
        },
    )


def _shards(run: Run) -> xr.Dataset:
    names = list(run.start.problem.coordinates.names)
    every = ("shard", "chain", "draw")
    stacked = {
        name: (every, np.stack([getattr(shard, name) for shard in run.draws]).astype(kind))
        for name, kind in (("diverging", bool), ("num_steps", int), ("energy", float), ("accept_prob", float))
    }
    quality = run.consensus.convergence
    return xr.Dataset(
        {
            "z": ((*every, "coordinate"), np.stack([shard.z for shard in run.draws])),
            **stacked,
            **{
                name: (("shard", "coordinate"), getattr(quality, name))
                for name in ("r_hat", "ess_bulk", "ess_tail")
            },
            **{
                name: ("shard", getattr(quality, name))
                for name in ("divergences", "tree_depth", "steps", "bfmi", "seconds")
            },
        },
        {"coordinate": names, "shard": np.arange(len(run.draws))},
    )


def _consensus(run: Run, rng) -> xr.Dataset:
    consensus, names = run.consensus, _names(run)
    coordinates = list(run.start.problem.coordinates.names)
    # Natural parameters are not normal where their coordinates are: their moments are those of draws.
    z = rng.multivariate_normal(consensus.mean, consensus.covariance, 4000)
    physical = run.posterior.physical(z)
    if coordinates[-1] == "phi0":
        center = float(run.start.mu[-1])
        physical[:, -1] += float(wrapped_direction(center)) - center
    # A tail may reach beyond all numbers; the middle 68 % do not.
    low, middle, high = np.quantile(np.nan_to_num(physical), (0.16, 0.5, 0.84), axis=0)
    return xr.Dataset(
        {
            "median": ("parameter", middle),
            "half_width": ("parameter", (high - low) / 2),
            "z_mean": ("coordinate", consensus.mean),
            "z_covariance": (("coordinate", "coordinate_"), consensus.covariance),
        },
        {"parameter": list(names), "coordinate": coordinates, "coordinate_": coordinates},
        attrs={
            "anchor": anchor_strength(len(run.shards)),
            "positive": int(consensus.positive),
            "q": consensus.q,
            "q_dof": consensus.q_dof,
            "q_p": consensus.q_p,
        },
    )


def _warm_start(run: Run) -> xr.Dataset:
    warm = run.request.warm
    found = {"value": ("parameter", warm.physical)}
    if warm.covariance is not None:
        with np.errstate(invalid="ignore"):
            found["sd"] = ("parameter", np.sqrt(np.diag(warm.covariance)))
    if warm.robust_sd is not None:
        found["robust_sd"] = ("parameter", warm.robust_sd)
    return xr.Dataset(found, {"parameter": list(_names(run))})
