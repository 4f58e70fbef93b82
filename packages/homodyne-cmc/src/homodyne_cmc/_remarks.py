"""What a reader of the posterior's numbers must know, in sentences."""

from collections.abc import Sequence

import numpy as np

# Relative error of a standard deviation, and clustered error in posterior standard deviations, above which they are named.
_VAGUE, _NARROW = 0.1, 1.5


def heavy_tails(names: Sequence[str], sd_errors) -> list[str]:
    """Parameters whose standard deviation rests on few draws.

    Parameters
    ----------
    names : sequence of str
    sd_errors : (n,)
        Relative errors of the standard deviations.
    """
    return [
        f"the sd of {name} rests on a few draws far out (its own error is {100 * error:.0f} %): a heavy tail; trust the interval, not the sd."
        for name, error in zip(names, sd_errors, strict=True)
        if error > _VAGUE
    ]


def narrower_than_the_fit(names: Sequence[str], sd, robust_sd, *, widened: bool) -> list[str]:
    """Whether the clustered errors of the fit are wider than the posterior; held parameters have neither.

    Parameters
    ----------
    names : sequence of str
    sd, robust_sd : (n,)
    widened : bool
        Whether widened draws are there.
    """
    sd, robust_sd = np.asarray(sd, dtype=float), np.asarray(robust_sd, dtype=float)
    ratio = np.divide(robust_sd, sd, out=np.zeros_like(sd), where=sd > 0)
    worst = int(np.argmax(np.nan_to_num(ratio)))
    if not ratio[worst] > _NARROW:
        return []
    todo = "see the widened draws." if widened else "robust_draws widens it."
    return [
        f"the clustered error of {names[worst]} in the fit is {ratio[worst]:.2g} times the posterior's sd: points of a map share photons and "
        f"speckles, which the posterior does not know; {todo}"
    ]
