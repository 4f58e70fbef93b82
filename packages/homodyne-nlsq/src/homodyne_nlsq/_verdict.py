"""What a fit is called, and the sentences that come with it."""

from math import sqrt

from homodyne_data import TwoTimeData
from homodyne_degeneracy import Identifiability
from homodyne_model import PARAMETERS, ScalingState

# A decay that improves χ² by less than this many times the noise, over a constant for each angle, is not a decay that was seen.
_SEEN = 25.0
# Chance improves it too, by about the noise for each contrast and transport parameter, and the search picks the best of many.
_BY_CHANCE = 2.0

# Share of a window of frames in what is known of a combination, beyond which clustered error bars are doubtful.
_LEVERAGE = 0.9

# Standard deviations of reduced χ² from 1 that are said.
_OFF = 5.0


def quality_of(
    status: str, sigma_source: str, reduced: float, *, at_bound: bool, seen: bool, determined: bool
) -> str:
    """``good``, ``marginal`` or ``poor``.

    Reduced χ² is judged only where σ was given: an estimate from neighbouring entries is too small for bright data, whose
    neighbours share photons and speckles.
    """
    if status == "failed" or not seen or (sigma_source == "given" and reduced >= 5):
        return "poor"
    if status == "partial" or at_bound or not determined or (sigma_source == "given" and reduced >= 2):
        return "marginal"
    return "good" if sigma_source != "default" else "marginal"


def decay_is_seen(cost: float, flat_cost: float, dof: int, n_decay: int) -> bool:
    """Whether the fitted decay, with its `n_decay` contrasts and transport parameters, explains more than chance does."""
    noise = cost / max(dof, 1)
    return flat_cost - cost > (_SEEN + _BY_CHANCE * n_decay) * noise


def sentences(
    *,
    data: TwoTimeData,
    names,
    values,
    at_bound,
    states,
    reduced: float,
    dof: int,
    seen: bool,
    curves,
    report: Identifiability,
    covariance_type: str,
    leverage: float,
) -> list[str]:
    """Everything that a reader of the numbers must know."""
    said = []
    if data.sigma_source == "default":
        said.append(
            "σ could be neither read nor estimated: 1 % was taken, so χ² means nothing and the error bars rest on the scatter "
            "of the residuals."
        )
    elif data.sigma_source == "given" and abs(reduced - 1) > _OFF * sqrt(2 / dof):
        cause = "larger" if reduced > 1 else "smaller"
        said.append(
            f"Reduced χ² is {reduced:.4g}, {abs(reduced - 1) / sqrt(2 / dof):.0f} standard deviations from 1: the residuals are {cause} "
            "than the given σ, so model or σ does not fit the data (or neighbouring entries are correlated)."
        )
    if not seen:
        said.append(
            "No decay can be told from the noise: contrast and dynamics are not determined. Check q, frames and contrast, or average "
            "more."
        )
    for name, value, bound in zip(names, values, at_bound, strict=True):
        if bound and not name.startswith(("contrast", "offset")):
            said.append(
                f"{name} ended at its {bound} bound, {value:.6g} {PARAMETERS[name].unit}".rstrip()
                + ": its error is not quoted, and the other errors take it as known. Widen the bound if it is not physical."
            )
    for column, kind in enumerate(("contrast", "offset")):
        for state, word in ((ScalingState.LOWER, "lower bound"), (ScalingState.UPPER, "upper bound")):
            which = [a for a in range(len(states)) if states[a, column] == state]
            if which:
                said.append(f"{kind} is at its {word} at {_angles(data.phi, which)}.")
    lost = [a for a in range(len(states)) if ScalingState.UNDETERMINED in states[a]]
    if lost:
        said.append(
            f"Contrast and offset cannot be told apart at {_angles(data.phi, lost)}: the fitted decay is flat there."
        )
    for label, curve in curves:
        if curve is not None and label == "D(t)" and (curve.value < 0).any():
            at = curve.t[int(curve.value.argmin())]
            said.append(
                f"The fitted D(t) is negative, down to {curve.value.min():.4g} {curve.unit} at t = {at:.4g} s: not physical."
            )
        if curve is not None and label == "shear rate" and (curve.value < 0).all():
            said.append(
                "The shear rate came out negative throughout. C2 is the same for a rate and its negative, so only its size is measured."
            )
    said += report.sentences()
    if covariance_type == "robust" and leverage > _LEVERAGE:
        said.append(
            f"One stretch of frames, as long as the decay asks for, holds {leverage:.0%} of what is known of a combination of parameters: the "
            "measurement repeats too little for its scatter to tell an error, so that the error bars may be wrong by a factor of 2. Measure longer."
        )
    if covariance_type == "hessian":
        said.append(
            "The error bars take the points for independent; entries that share a frame are not, so on measured maps they are too "
            "small, typically by a factor of 2 or more."
        )
    return said


def _angles(phi, which) -> str:
    shown = ", ".join(f"{phi[a]:.4g}" for a in which[:6])
    return f"φ = {shown}{' ...' if len(which) > 6 else ''} deg ({len(which)} of {len(phi)} angles)"
