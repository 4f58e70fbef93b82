r"""Two-time maps from first principles: speckle, photons, correlation.

A pixel's field in coherence mode m is a stationary-in-space complex Gaussian process with <E_m(t1)
E_m*(t2)> = g1(t1, t2). Its intensity I = sum_m w_m |E_m|² with sum w_m = 1 has <I> = 1 and, by the Gaussian
moment theorem,

    <I(t1) I(t2)> = 1 + (sum_m w_m²) g1(t1, t2)²        (Siegert relation with contrast = sum_m w_m²).

Photons are Poisson with mean `mean_counts` times I. The map is computed from the counts N as at a beamline,
C2 = <N1 N2> / (<N1> <N2>) with averages over pixels, so its diagonal holds the shot noise 1 / mean_counts,
entries that share a frame share its photons, and neighbouring entries share speckles. The ratio of averages
has a bias of the order 1 / n_pixels.

Source: J. W. Goodman, Speckle Phenomena in Optics (2007): Gaussian moment theorem, sums of
independent speckle patterns.
"""

import numpy as np

_MOST_VALUES = 2**21


def simulate_speckle(
    g1: np.ndarray,
    *,
    n_pixels: int,
    contrast: float | np.ndarray,
    mean_counts: float,
    seed: int | np.random.SeedSequence | np.random.Generator,
    dtype: type = np.float32,
) -> np.ndarray:
    """Two-time maps computed from simulated photon counts.

    Parameters
    ----------
    g1 : (n_phi, n_t, n_t) or (n_t, n_t) array
        Field correlation: real, symmetric, 1 on the diagonal, positive semi-definite. Negative values
        (shear) are fine.
    n_pixels : int
        Pixels in each bin; the noise of an entry goes as 1 / sqrt(n_pixels).
    contrast : float or (n_phi,)
        Speckle contrast in (0, 1]: C2 - 1 just off the diagonal.
    mean_counts : float
        Photons per pixel per frame, > 0.
    seed : int, SeedSequence or Generator
        Source of speckle and photons.
    dtype : numpy.float32 or numpy.float64
        Type of the result.

    Returns
    -------
    (n_phi, n_t, n_t) array
        C2 with baseline 1, exactly symmetric, with expectation 1 + contrast g1² (+ 1 / mean_counts on the
        diagonal) up to order 1 / n_pixels. NaN in the row and column of a frame without any photon.

    Raises
    ------
    ValueError
        If `g1` is not a correlation (not symmetric, not 1 on the diagonal, or with an eigenvalue negative
        beyond rounding), or another argument is out of range.

    Notes
    -----
    Angles are independent. The formulas are at the top of this module.

    Examples
    --------
    >>> t = np.arange(5)
    >>> g1 = np.exp(-0.2 * np.abs(t[:, None] - t))
    >>> c2 = simulate_speckle(g1, n_pixels=500, contrast=0.3, mean_counts=0.5, seed=1)
    >>> c2.shape, str(c2.dtype)
    ((1, 5, 5), 'float32')
    """
    covariances = _correlations(g1)
    n_phi, n_t = covariances.shape[:2]
    if isinstance(n_pixels, bool) or int(n_pixels) != n_pixels or n_pixels < 2:
        raise ValueError(f"n_pixels must be an integer of 2 or more, got {n_pixels}")
    if not (np.isfinite(mean_counts) and mean_counts > 0):
        raise ValueError(f"mean_counts must be positive and finite, got {mean_counts}")
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64, got {dtype}")
    contrasts = np.asarray(contrast, dtype=np.float64)
    if contrasts.shape not in ((), (n_phi,)):
        raise ValueError(f"contrast must be a number or have shape {(n_phi,)}, got {contrasts.shape}")
    contrasts = np.broadcast_to(contrasts, n_phi)
    if not np.all((contrasts > 0) & (contrasts <= 1)):
        raise ValueError(f"contrast must be in (0, 1], got {contrast}")
    rng = np.random.default_rng(seed)
    eps = float(np.finfo(g1.dtype).eps) if getattr(g1, "dtype", None) in (np.float32, np.float64) else 2.3e-16
    c2 = np.empty((n_phi, n_t, n_t), dtype=dtype)
    for angle in range(n_phi):
        factor = _factor(covariances[angle], eps, angle)
        c2[angle] = _measured(
            factor, coherence_modes(contrasts[angle]), int(n_pixels), float(mean_counts), rng
        )
    return c2


def coherence_modes(contrast: float) -> np.ndarray:
    """Weights w of the fewest modes with sum w = 1 and sum w² = contrast: one of weight a, the rest equal."""
    n_modes = max(int(np.ceil(1 / contrast - 1e-12)), 1)
    if n_modes == 1:
        return np.ones(1)
    spread = max((n_modes - 1) * (n_modes * contrast - 1), 0.0)
    largest = (1 + np.sqrt(spread)) / n_modes
    return np.append(largest, np.full(n_modes - 1, (1 - largest) / (n_modes - 1)))


def _correlations(g1: np.ndarray) -> np.ndarray:
    array = np.asarray(g1)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"g1 must be real numbers, got dtype {array.dtype}")
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or array.shape[1] != array.shape[2] or 0 in array.shape:
        raise ValueError(f"g1 must have shape (n_phi, n_t, n_t) or (n_t, n_t), got {np.shape(g1)}")
    array = array.astype(np.float64)
    if not np.all(np.isfinite(array)):
        raise ValueError("g1 must be finite")
    if np.abs(array - array.transpose(0, 2, 1)).max() > 1e-5:
        raise ValueError("g1 must be symmetric in its two times")
    if np.abs(np.einsum("aii->ai", array) - 1).max() > 1e-5:
        raise ValueError("g1 must be 1 on the diagonal (equal times)")
    return array


def _factor(covariance: np.ndarray, eps: float, angle: int) -> np.ndarray:
    """(n_t, rank) matrix F with F Fᵀ = covariance."""
    eigenvalues, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    rounding = 10 * eps * covariance.shape[0] * eigenvalues[-1]
    if eigenvalues[0] < -rounding:
        raise ValueError(
            f"g1 of angle {angle} is not positive semi-definite, so no field has this correlation: smallest "
            f"eigenvalue {eigenvalues[0]:.3g} of largest {eigenvalues[-1]:.3g} (rounding "
            f"explains {rounding:.1g})"
        )
    kept = eigenvalues > rounding * 1e-3
    return vectors[:, kept] * np.sqrt(eigenvalues[kept])


def _measured(
    factor: np.ndarray, weights: np.ndarray, n_pixels: int, mean_counts: float, rng: np.random.Generator
) -> np.ndarray:
    """C2 of one bin from the counts of its pixels, taken in batches of bounded size."""
    n_t, rank = factor.shape
    products = np.zeros((n_t, n_t))
    totals = np.zeros(n_t)
    batch = max(1, _MOST_VALUES // n_t)
    for done in range(0, n_pixels, batch):
        n = min(batch, n_pixels - done)
        intensity = np.zeros((n, n_t))
        for weight in weights:
            for _ in range(2):  # real and imaginary part, each with half the variance
                part = rng.standard_normal((n, rank)) @ factor.T
                intensity += (weight / 2) * part**2
        counts = rng.poisson(mean_counts * intensity).astype(np.float64)
        products += counts.T @ counts
        totals += counts.sum(axis=0)
    with np.errstate(invalid="ignore"):
        c2 = products * n_pixels / (totals[:, None] * totals[None, :])
    return np.tril(c2) + np.tril(c2, -1).T
