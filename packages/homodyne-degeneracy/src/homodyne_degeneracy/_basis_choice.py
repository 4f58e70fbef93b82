"""``per_angle_mode`` ``auto``: the smallest basis of contrast and offset that describes the data.

constant ⊂ fourier ⊂ individual are nested linear models, so that Gram matrices at one set of physical parameters tell how much
χ² each leaves, and an F test whether a smaller one leaves more than chance does.

The test has to know the noise of a contrast, not that of a point: points that share a frame are correlated, and the scatter of
contrasts is larger than independent points would make it by a factor, the inflation. It is dealt with twice. A measured
inflation (variance of the scaling from scores clustered by frame over that from the curvature) multiplies the noise. And between constant
and series the noise is at least the scatter of the angles about the series, whose expectation is inflated alike: the angles are then
the independent pieces, as plots are in a split-plot design. Fits of homodyne-nlsq hand over no inflation; the README of this package has the measurement.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import fdtrc

from homodyne_degeneracy.errors import DegeneracyError
from homodyne_model import (
    ModelError,
    ScalingBasis,
    ScalingBounds,
    compress,
    determined_directions,
    highest_fourier_order,
)

# Chance of taking a larger basis than needed. A basis too large costs precision, one too small the truth: not smaller.
SIGNIFICANCE = 0.05
# χ² below this share of the sums of squares is rounding.
_ROUNDING = 1e-13


@dataclass(frozen=True)
class BasisChoice:
    """Which basis of contrast and offset was chosen, and why.

    Attributes
    ----------
    basis : ScalingBasis
        The choice.
    chi_squared : dict
        Smallest χ² by mode, physical parameters at their linearised best for each basis.
    p_values : dict
        By the mode that was tested: chance that the next larger basis gains as much where it is not needed.
    sentence : str
        The choice and its reason in words.
    """

    basis: ScalingBasis
    chi_squared: dict[str, float]
    p_values: dict[str, float]
    sentence: str


def choose_basis(
    gram,
    phi,
    n_points: int,
    *,
    order: int = 2,
    fourier_threshold: int = 6,
    bounds: ScalingBounds | None = None,
    free_physical=None,
    inflation: float = 1.0,
    significance: float = SIGNIFICANCE,
) -> BasisChoice:
    """Choose between individual, Fourier and constant scaling.

    Parameters
    ----------
    gram : array_like, (n_phi, n_physical + 3, n_physical + 3)
        From `homodyne_model.normal_equations`, near the optimum.
    phi : array_like, (n_phi,)
        Angles [deg].
    n_points : int
        Points that count.
    order : int
        Of the Fourier series; lowered to what the angles determine.
    fourier_threshold : int
        Fewest angles at which the series is considered.
    bounds : ScalingBounds, optional
        Of contrast and offset.
    free_physical : array_like of bool, (n_physical,), optional
        Physical parameters that the fit varies; all by default.
    inflation : float
        Variance of a contrast or offset over that of independent points, at least 1.
    significance : float
        Chance of taking a larger basis where the smaller one describes the data.

    Returns
    -------
    BasisChoice
        The basis and the reason.

    Raises
    ------
    DegeneracyError
        If ``n_points`` leaves no degree of freedom or an argument is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> f = np.exp(-np.arange(40.0) / 8)
    >>> y = 0.3 * f + 0.1 + rng.normal(scale=0.01, size=(4, 40))
    >>> columns = [np.stack([-f * np.arange(40.0), f, np.ones(40), row]) for row in y]
    >>> choose_basis([c @ c.T for c in columns], [0.0, 30.0, 60.0, 90.0], 160).basis.mode
    'constant'
    """
    gram, phi = np.asarray(gram, dtype=float), np.asarray(phi, dtype=float)
    n_physical = gram.shape[1] - 3
    free = np.ones(n_physical, dtype=bool) if free_physical is None else np.asarray(free_physical, dtype=bool)
    if not (np.isfinite(inflation) and inflation >= 1):
        raise DegeneracyError(f"inflation is {inflation!r}; expected a number of at least 1.")
    if not 0 < significance < 1:
        raise DegeneracyError(f"significance is {significance!r}; expected a number between 0 and 1.")
    order = min(order, highest_fourier_order(phi))
    candidates = [ScalingBasis("constant"), ScalingBasis("individual")]
    if len(phi) >= fourier_threshold and order >= 1 and 2 * order + 1 < len(phi):
        candidates.insert(1, ScalingBasis("fourier", order))
    fits = {}
    for basis in candidates:
        try:
            fits[basis.mode] = compress(gram, bounds, basis=basis.matrix(phi))
        except ModelError:  # bounds or fixed values of the angles that the basis cannot meet
            if basis.mode == "individual":
                raise
    candidates = [basis for basis in candidates if basis.mode in fits]
    cost = {mode: _at_best_physical(fit, free) for mode, fit in fits.items()}
    size = {basis.mode: 2 * basis.n_coef(len(phi)) for basis in candidates}
    left = n_points - size["individual"] - int(free.sum())
    if left < 1:
        raise DegeneracyError(
            f"n_points is {n_points}; expected more than the {n_points - left} parameters of individual scaling."
        )
    # Without noise, χ² is the rounding of the sums that it is made of.
    rounding = _ROUNDING * float(np.einsum("akk->", gram[:, -3:, -3:]))
    noise, pieces = inflation * max(cost["individual"], rounding) / left, left
    chosen, p_values, larger = candidates[-1], {}, {}
    for smaller in reversed(candidates[:-1]):
        mode, steps = smaller.mode, size[chosen.mode] - size[smaller.mode]
        gained = max(cost[mode] - cost[chosen.mode], 0.0) / steps
        larger[mode], p_values[mode] = chosen.mode, float(fdtrc(steps, pieces, gained / noise))
        if p_values[mode] < significance:
            break
        # Scatter of the angles that passes for noise is noise to the next test, known as well as its pieces are many.
        if gained > noise:
            noise, pieces = gained, steps
        chosen = smaller
    return BasisChoice(
        chosen, cost, p_values, _reason(chosen, larger, p_values, significance, size, len(phi))
    )


def _at_best_physical(fit, free) -> float:
    """χ² after a Gauss-Newton step of the physical parameters, which every basis would take elsewhere."""
    spread, _ = determined_directions(fit.hessian, free & (np.diag(fit.hessian) > 0))
    return max(fit.cost - float(np.sum((spread.T @ fit.gradient) ** 2)), 0.0)


def _reason(chosen, larger, p_values, significance, size, n_phi) -> str:
    names = {
        "constant": "one contrast and offset for all angles",
        "fourier": "a Fourier series in the angle",
        "individual": "a contrast and offset for every angle",
    }
    smaller = [mode for mode, next_mode in larger.items() if next_mode == chosen.mode]
    why = []
    if chosen.mode in larger:
        why.append(
            f"{names[larger[chosen.mode]]} gains no more than chance does (p = {p_values[chosen.mode]:.2g})"
        )
    if smaller:
        why.append(f"{names[smaller[0]]} leaves more than noise (p = {p_values[smaller[0]]:.2g})")
    why = " and ".join(why) or "the bounds of the angles allow nothing else"
    kind = f"order {chosen.order}, " if chosen.mode == "fourier" else ""
    also = "" if "fourier" in size else f" A Fourier series was not considered at {n_phi} angles."
    return (
        f"per_angle_mode auto took {chosen.mode} ({names[chosen.mode]}, {kind}{size[chosen.mode]} scaling parameters): {why}, at a "
        f"significance of {significance:g}.{also}"
    )
