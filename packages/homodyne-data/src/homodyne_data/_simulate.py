"""Noisy maps from noise-free ones."""

import numpy as np

from homodyne_data._floats import native_float


def simulate_two_time(
    c2: np.ndarray,
    sigma: float | np.ndarray,
    *,
    seed: int | np.random.SeedSequence | np.random.Generator,
    symmetric: bool = True,
) -> np.ndarray:
    """Add independent normal noise to noise-free maps.

    Parameters
    ----------
    c2 : (n_phi, n_t, n_t) array
        Noise-free maps, dimensionless.
    sigma : float, (n_phi,) or (n_phi, n_t, n_t)
        Standard deviation of the noise; 0 leaves an entry as it is.
    seed : int, SeedSequence or Generator
        Source of the noise.
    symmetric : bool
        Give (t1, t2) and (t2, t1) the same noise, as in measured maps; the entries with t1 > t2 (and their
        sigma) decide. False draws both triangles independently.

    Returns
    -------
    (n_phi, n_t, n_t) array, the float dtype of `c2`
        New maps. Measured maps are noisier in one way: their entries share frames and speckles; see
        `simulate_speckle`.

    Raises
    ------
    ValueError
        If shapes do not fit or `sigma` is negative.

    Examples
    --------
    >>> maps = simulate_two_time(np.ones((1, 4, 4)), 0.1, seed=1)
    >>> bool(np.array_equal(maps[0], maps[0].T))
    True
    """
    maps = native_float(c2)
    if maps.ndim != 3 or maps.shape[1] != maps.shape[2]:
        raise ValueError(f"c2 must have shape (n_phi, n_t, n_t), got {maps.shape}")
    noise_sd = np.asarray(sigma, dtype=np.float64)
    if noise_sd.ndim and noise_sd.shape not in ((maps.shape[0],), maps.shape):
        raise ValueError(
            f"sigma must be a number or have shape {(maps.shape[0],)} or {maps.shape}, got {noise_sd.shape}"
        )
    if not (np.all(noise_sd >= 0) and np.all(np.isfinite(noise_sd))):
        raise ValueError("sigma must not be negative and must be finite")
    rng = np.random.default_rng(seed)
    noisy = np.empty_like(maps, order="C")
    for angle, clean in enumerate(maps):
        deviation = rng.standard_normal(clean.shape)
        deviation *= noise_sd if noise_sd.ndim == 0 else noise_sd[angle]
        deviation += clean
        noisy[angle] = np.tril(deviation) + np.tril(deviation, -1).T if symmetric else deviation
    return noisy
