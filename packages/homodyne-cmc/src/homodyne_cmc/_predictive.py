"""What can be seen of a misfit: C2 averaged over windows of age and bins of lag, measured and of the model at draws, over the same pairs.

The age of a pair of frames is the time of its earlier one. A bin (angle a, window w, lag l) holds the pairs ij and has

    C2[a, w, l] = Σ w_ij C2_ij / Σ w_ij,        standard error = σ / √Σ w_ij     (w_ij = 1, or 1/σ_ij² with σ = 1)

and, at a draw with its contrast and offset, offset_a + contrast_a Σ w_ij g1²_ij / Σ w_ij. Of large maps only some rows take part, in both.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from homodyne_cmc._shards import ShardSet
from homodyne_model import TwoTimeModel, rows_c2

N_WINDOWS = 3
_LAG_BINS = 40
_DRAWS = 100
# Pairs that are averaged, about, and rows that are taken whatever their length: 23 angles of 1000 frames take seconds and 200 MB.
_PAIRS, _LEAST_ROWS = 1_000_000, 24


@dataclass(frozen=True)
class Binned:
    """Pairs of frames and the bins that they are averaged in.

    Attributes
    ----------
    frames : (n_rows,) int
        Later frames of the pairs.
    n_frames : int
        How many there were to choose from.
    at : (n_pairs,) int
        Where the pairs stand in rows of maps (n_phi, n_rows, n_t).
    bins : (n_pairs,) int
        Where their bins stand in averages.
    weight, y : (n_pairs,)
        Weight and C2 - 1 of every pair.
    lag : (n_windows, n_lags)
        Mean lag of the pairs of all angles, in frames; the middle of a bin without pairs.
    shape : (n_phi, n_windows, n_lags)
        Of the averages.
    """

    frames: np.ndarray
    n_frames: int
    at: np.ndarray
    bins: np.ndarray
    weight: np.ndarray
    y: np.ndarray
    lag: np.ndarray
    shape: tuple[int, int, int]

    def sum(self, values=None) -> np.ndarray:
        """Sums of values (n_pairs,) over the bins; their pairs where left out."""
        return np.bincount(self.bins, values, minlength=int(np.prod(self.shape))).reshape(self.shape)


def lag_edges(n_t: int) -> np.ndarray:
    """First lags of the bins and the end of the last one, in frames, in about equal steps of their logarithm."""
    return np.unique(np.geomspace(1, n_t, _LAG_BINS + 1).round().astype(int))


def age_edges(t) -> np.ndarray:
    """Ends of the windows of age [s], thirds of the measurement."""
    return np.linspace(t[0], t[-1], N_WINDOWS + 1)


def chosen_frames(n_phi: int, n_t: int) -> np.ndarray:
    """Later frames of the pairs that are averaged: all, or an even choice."""
    n_rows = max(_LEAST_ROWS, round(2 * _PAIRS / (n_phi * n_t)))
    if n_rows >= n_t - 1:
        return np.arange(1, n_t)
    return np.linspace(1, n_t - 1, n_rows).round().astype(int)


def bin_pairs(shards: ShardSet, t) -> Binned:
    """Pairs of the chosen rows with their bins; shards are loaded one after the other.

    Parameters
    ----------
    shards : ShardSet
    t : (n_t,)
        Frame times [s].
    """
    n_t, n_phi = len(t), len(np.asarray(shards.moments.n_points))
    frames = chosen_frames(n_phi, n_t)
    c2 = np.full((n_phi, len(frames), n_t), np.nan)
    weights = None
    for stored in shards.shards:
        shard = stored.load()
        # Rows that only fill the shape come after these.
        own = np.arange(stored.index, n_t, len(shards))
        _, ours, theirs = np.intersect1d(frames, own, return_indices=True)
        c2[:, ours] = shard.c2[:, theirs]
        if shard.weights is not None:
            weights = np.ones_like(c2) if weights is None else weights
            weights[:, ours] = shard.weights[:, theirs]
    lag = frames[:, None] - np.arange(n_t)
    used = (lag > 0) & np.isfinite(c2)
    if weights is not None:
        used &= weights > 0
    edges = lag_edges(n_t)
    window = np.searchsorted(age_edges(t)[1:-1], t, side="right")
    shape = (n_phi, N_WINDOWS, len(edges) - 1)
    bins = window * shape[2] + np.searchsorted(edges, lag, side="right") - 1
    angle, row, column = np.nonzero(used)
    n_bins = shape[1] * shape[2]
    total, count = (np.bincount(bins[row, column], w, n_bins) for w in (lag[row, column], None))
    middle = np.tile((edges[:-1] + edges[1:] - 1) / 2, N_WINDOWS)
    return Binned(
        frames=frames,
        n_frames=n_t - 1,
        at=np.flatnonzero(used),
        bins=angle * n_bins + bins[row, column],
        weight=np.ones(len(angle)) if weights is None else weights[used],
        y=c2[used] - 1.0,
        lag=np.where(count > 0, total / np.maximum(count, 1), middle).reshape(shape[1:]),
        shape=shape,
    )


def observed_averages(pairs: Binned, angle_weight, sigma) -> tuple[np.ndarray, np.ndarray]:
    """Averages of the measured C2 and their standard errors, both of the shape of the bins; NaN where there is no pair.

    Parameters
    ----------
    pairs : Binned
    angle_weight : (n_phi,) or None
        Factor that makes the weights 1/σ²; None where no σ was given.
    sigma : (n_phi,) or None
        Else the σ that was inferred for points that weigh 1. Without either, the scatter of the points about their average stands in, to which
        the change of C2 within a bin adds.
    """
    weight, count = pairs.sum(pairs.weight), pairs.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = pairs.sum(pairs.weight * pairs.y) / weight
        if angle_weight is not None:
            error = 1 / np.sqrt(np.asarray(angle_weight)[:, None, None] * weight)
        elif sigma is not None:
            error = np.asarray(sigma)[:, None, None] / np.sqrt(weight)
        else:
            away = pairs.y - mean.reshape(-1)[pairs.bins]
            error = np.sqrt(pairs.sum(pairs.weight * away**2) / weight / np.maximum(count - 1, 0))
    return mean + 1.0, np.where((count > 0) & np.isfinite(error), error, np.nan)


@jax.jit
def _g1_squared(model: TwoTimeModel, physical, frames):
    """g1² of rows of maps, (n_phi, n_rows, n_t)."""
    one, zero = jnp.ones(model.n_phi), jnp.zeros(model.n_phi)
    row = lambda frame: rows_c2(model, physical, one, zero, frame, 1)[:, 0]  # noqa: E731
    return jax.vmap(row, out_axes=1)(frames)


def predicted_averages(model: TwoTimeModel, pairs: Binned, physical, contrast, offset) -> np.ndarray:
    """Averages of the model's C2 over the same pairs with the same weights, (n_draws, n_phi, n_windows, n_lags).

    Parameters
    ----------
    model : TwoTimeModel
    pairs : Binned
    physical : (n_draws, n_physical)
    contrast, offset : (n_draws, n_phi)
    """
    found = np.empty((len(physical), *pairs.shape))
    weight = pairs.sum(pairs.weight)
    frames = jnp.asarray(pairs.frames)
    for k, draw in enumerate(np.asarray(physical)):
        f = np.asarray(_g1_squared(model, jnp.asarray(draw), frames)).reshape(-1)[pairs.at]
        with np.errstate(invalid="ignore"):
            found[k] = pairs.sum(pairs.weight * f) / weight
    return offset[:, :, None, None] + contrast[:, :, None, None] * found


def predictive_groups(
    model: TwoTimeModel, shards: ShardSet, data, posterior: xr.Dataset, *, known_noise: bool
) -> dict[str, xr.Dataset]:
    """The groups ``observed_data`` and, where the posterior has draws, ``posterior_predictive``.

    Parameters
    ----------
    model : TwoTimeModel
    shards : ShardSet
    data : TwoTimeData or TwoTimeStream
        For times and angles.
    posterior : xarray.Dataset
        With contrast, offset and, where it was inferred, sigma.
    known_noise : bool
        Whether the points were weighed by a given σ.
    """
    pairs = bin_pairs(shards, data.t)
    n_draws = posterior.sizes["draw"]
    angle_weight = np.asarray(shards.shards[0].data.angle_weight) if known_noise else None
    sigma = posterior["sigma"].values[0].mean(0) if "sigma" in posterior and n_draws else None
    mean, error = observed_averages(pairs, angle_weight, sigma)
    ages = age_edges(data.t)
    coordinates = {
        "phi": ("angle", data.phi, {"units": "deg"}),
        "lag": (("window", "lag_bin"), pairs.lag * data.dt, {"units": "s"}),
        "age_from": ("window", ages[:-1], {"units": "s"}),
        "age_to": ("window", ages[1:], {"units": "s"}),
    }
    rows = (
        "all" if len(pairs.frames) == pairs.n_frames else f"{len(pairs.frames)} of {pairs.n_frames}, evenly"
    )
    attributes = {"age": "time of the earlier frame of a pair", "later_frames": rows}
    source = "given sigma" if known_noise else "inferred sigma" if sigma is not None else "scatter in the bin"
    dims = ("angle", "window", "lag_bin")
    groups = {
        "observed_data": xr.Dataset(
            {
                "c2": (dims, mean),
                "standard_error": (dims, error, {"source": source}),
                "count": (dims, pairs.sum()),
            },
            coordinates,
            attrs=attributes,
        )
    }
    if n_draws:
        # Draws stand in random order.
        picks = np.unique(np.linspace(0, n_draws - 1, min(_DRAWS, n_draws)).round().astype(int))
        chosen = posterior.isel(chain=0, draw=picks)
        names = model.analysis_mode.physical_names
        physical = np.stack([chosen[name].values for name in names], axis=1)
        c2 = predicted_averages(model, pairs, physical, chosen["contrast"].values, chosen["offset"].values)
        groups["posterior_predictive"] = xr.Dataset(
            {"c2": (("chain", "draw", *dims), c2[None])},
            {**coordinates, "chain": [0], "draw": chosen["draw"].values},
            attrs=attributes
            | {"noise": "none: averages of the model; observed_data has their standard error"},
        )
    return groups
