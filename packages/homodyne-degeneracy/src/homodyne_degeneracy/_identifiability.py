"""What the data determine and what they do not, in numbers and in words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from homodyne_model import determined_directions, invert_identifiable

# Above this correlation two parameters are all but interchangeable: their errors are 3 times those with the other known.
STRONG_CORRELATION = 0.95
# Entries of a direction (in units of each parameter's own scale) smaller than this share of the largest are left out of its words.
_SHARE_NAMED = 0.2


@dataclass(frozen=True)
class Identifiability:
    """Which parameters the data separate.

    Attributes
    ----------
    names : tuple of str
        The free parameters.
    eigenvalues : (n_free,)
        Of the correlation-scaled curvature, increasing; their mean is 1, a small one is a weak direction.
    undetermined : tuple of tuple of str
        For each direction without curvature, the parameters that take part in it.
    correlated : tuple of (str, str, float)
        Pairs with a correlation above 0.95 in size, strongest first.
    poorly_known : tuple of (str, float)
        Parameters whose standard error exceeds their size, with the ratio.
    """

    names: tuple[str, ...]
    eigenvalues: np.ndarray
    undetermined: tuple[tuple[str, ...], ...]
    correlated: tuple[tuple[str, str, float], ...]
    poorly_known: tuple[tuple[str, float], ...]

    def sentences(self) -> list[str]:
        """The findings in words, the worst first; empty when every parameter is determined by itself."""
        said = [
            f"The data do not determine {_listed(group)} {'separately' if len(group) > 1 else 'at all'}: fix "
            f"{'one of them' if len(group) > 1 else 'it'}, or rely on the curves over time."
            for group in self.undetermined
        ]
        said += [
            f"{a} and {b} are nearly interchangeable (correlation {r:+.4f}): quote them together or through the curve over time."
            for a, b, r in self.correlated
        ]
        said += [
            f"The standard error of {name} is {ratio:.2g} times its value."
            for name, ratio in self.poorly_known
        ]
        return said


def identifiability(hessian, names: Sequence[str], values, free, noise: float = 1.0) -> Identifiability:
    """Analyse the curvature of χ² at the optimum.

    Parameters
    ----------
    hessian : array_like, (n, n)
        Reduced curvature JᵀwJ, contrast and offset eliminated.
    names : sequence of str
        Names of the n parameters.
    values : array_like, (n,)
        Best values.
    free : array_like of bool, (n,)
        Parameters that were fitted and are not at a bound.
    noise : float
        What the inverse curvature is multiplied with (1 where σ was given, else the reduced χ²).

    Returns
    -------
    Identifiability
        Numbers, and words by `Identifiability.sentences`.

    Raises
    ------
    ValueError
        If the sizes do not agree.

    Examples
    --------
    >>> import numpy as np
    >>> found = identifiability([[1.0, 0.999], [0.999, 1.0]], ["D0", "D_offset"], [10.0, 10.0], [True, True])
    >>> [(a, b, round(r, 3)) for a, b, r in found.correlated]
    [('D0', 'D_offset', -0.999)]
    """
    hessian, values, free = (
        np.asarray(hessian, dtype=float),
        np.asarray(values, dtype=float),
        np.asarray(free, dtype=bool),
    )
    n = len(names)
    if hessian.shape != (n, n) or values.shape != (n,) or free.shape != (n,):
        raise ValueError(
            f"hessian, values and free have shapes {hessian.shape}, {values.shape}, {free.shape}; expected ({n}, {n}), "
            f"({n},), ({n},) for {n} names."
        )
    kept = np.flatnonzero(free)
    part = hessian[np.ix_(kept, kept)]
    scale = np.sqrt(np.where(np.diag(part) > 0, np.diag(part), 1.0))
    undetermined = []
    for direction in determined_directions(hessian, free).lost.T:
        size = np.abs(direction[kept]) * scale
        undetermined.append(
            tuple(names[k] for k, s in zip(kept, size, strict=True) if s > _SHARE_NAMED * size.max())
        )
    inverse = invert_identifiable(hessian, free)
    width = np.sqrt(np.diag(inverse))
    pairs = [
        (names[a], names[b], float(inverse[a, b] / (width[a] * width[b])))
        for i, a in enumerate(kept)
        for b in kept[i + 1 :]
        if np.isfinite(inverse[a, b])
    ]
    error = np.sqrt(noise) * width
    correlated = sorted((p for p in pairs if abs(p[2]) > STRONG_CORRELATION), key=lambda p: -abs(p[2]))
    # A direction has no zero that its error could be measured against.
    poor = [
        (names[k], float(error[k] / abs(values[k])))
        for k in kept
        if names[k] != "phi0" and error[k] > abs(values[k]) > 0
    ]
    eigenvalues = np.linalg.eigvalsh(part / np.outer(scale, scale)) if len(kept) else np.zeros(0)
    return Identifiability(
        tuple(names[k] for k in kept), eigenvalues, tuple(undetermined), tuple(correlated), tuple(poor)
    )


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
