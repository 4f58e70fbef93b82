"""What a least-squares result contributes: where sampling begins and how the coordinates are whitened. Never information."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from homodyne_cmc.errors import CMCInputError
from homodyne_model import SCALING_MODES, AnalysisMode


@dataclass(frozen=True)
class WarmStart:
    """Physical parameters and their covariances from a fit.

    Attributes
    ----------
    physical : (n,)
        Values in natural units.
    held : tuple of bool
        Which of them the fit held, (n,).
    covariance : (n, n) or None
        Of independent points where the fit tells that from the clustered one: that is the width of the likelihood.
    robust : (n, n) or None
        Covariance that knows that points share frames and speckles. Both are zero for what was held.
    per_angle_mode : str or None
        How contrast and offset varied with the angle.
    """

    physical: np.ndarray
    held: tuple[bool, ...]
    covariance: np.ndarray | None
    robust: np.ndarray | None
    per_angle_mode: str | None

    @classmethod
    def of(cls, source: Any, analysis_mode: str) -> "WarmStart":
        """From an object or mapping with ``names``, ``values`` (or ``parameters``) and, optionally, ``covariance``.

        Further names and entries are ignored; ``covariances`` (a mapping with ``hessian`` and ``robust``) goes before ``covariance``, and
        ``per_angle_mode`` is taken over.

        Raises
        ------
        CMCInputError
            If names or values are missing or do not fit.
        """
        get = source.get if isinstance(source, Mapping) else lambda name: getattr(source, name, None)
        names = get("names")
        values = get("values")
        # The method of a mapping is no value.
        values = get("parameters") if values is None or callable(values) else values
        if names is None or values is None:
            raise CMCInputError(
                f"nlsq_result is a {type(source).__name__} without names and values (or parameters); expected both, and a covariance."
            )
        names, values = list(names), np.asarray(values, dtype=float)
        if values.shape != (len(names),):
            raise CMCInputError(f"nlsq_result has {len(names)} names and values of shape {values.shape}.")
        wanted = AnalysisMode(analysis_mode).physical_names
        missing = [name for name in wanted if name not in names]
        if missing:
            raise CMCInputError(
                f"nlsq_result has no {', '.join(missing)}; analysis_mode {analysis_mode} needs them."
            )
        at = [names.index(name) for name in wanted]
        if not np.isfinite(values[at]).all():
            bad = wanted[int(np.argmin(np.isfinite(values[at])))]
            raise CMCInputError(
                f"nlsq_result has {bad} = {values[names.index(bad)]}; expected a finite number."
            )
        fixed = get("fixed")
        if fixed is not None and np.shape(fixed) != (len(names),):
            raise CMCInputError(f"nlsq_result has {len(names)} names and fixed of shape {np.shape(fixed)}.")
        held = np.zeros(len(at), dtype=bool) if fixed is None else np.asarray(fixed, dtype=bool)[at]
        several = get("covariances") or {}
        covariance = _block("covariance", several.get("hessian", get("covariance")), at, len(names), held)
        robust = _block("covariances['robust']", several.get("robust"), at, len(names), held)
        mode = get("per_angle_mode")
        if mode is not None and mode not in SCALING_MODES:
            raise CMCInputError(
                f"nlsq_result.per_angle_mode is {mode!r}; expected one of {', '.join(SCALING_MODES)}."
            )
        return cls(values[at], tuple(held.tolist()), covariance, robust, mode)

    @property
    def is_spread(self) -> bool:
        """Whether there is a covariance of the free parameters that is positive definite."""
        return _is_positive(self.covariance, self.held)

    @property
    def is_robust(self) -> bool:
        """Whether there is a clustered covariance beside it, positive definite as well."""
        return self.is_spread and _is_positive(self.robust, self.held)

    @property
    def robust_sd(self) -> np.ndarray | None:
        """Standard errors that know that points share frames and speckles, (n,)."""
        return None if self.robust is None else np.sqrt(np.diag(self.robust))

    def precision(self, tangent: np.ndarray) -> np.ndarray:
        """Inverse covariance in coordinates with ∂θ/∂v ``tangent``, (n, d)."""
        free = ~np.array(self.held)
        covariance = self.covariance[np.ix_(free, free)]
        sd = np.sqrt(np.diag(covariance))
        scaled = tangent[free] / sd[:, None]
        return scaled.T @ np.linalg.solve(covariance / np.outer(sd, sd), scaled)

    def holding(self, fixed: Mapping[int, float]) -> "WarmStart":
        """With parameters, by their place, held at values; the covariance is that of the others, as conditioned on the values."""
        if not fixed:
            return self
        physical, held = self.physical.copy(), np.array(self.held)
        for place, value in fixed.items():
            physical[place] = value
            held[place] = True
        free, new = ~held, held & ~np.array(self.held)
        if new.any() and self.is_spread:
            # Conditional covariance and means of a normal distribution.
            known = np.linalg.solve(self.covariance[np.ix_(new, new)], self.covariance[np.ix_(new, free)])
            physical[free] += (physical - self.physical)[new] @ known
        return replace(
            self,
            physical=physical,
            held=tuple(held.tolist()),
            covariance=_conditioned(self.covariance, new, free),
            robust=_conditioned(self.robust, new, free),
        )


def _conditioned(covariance, new, free) -> np.ndarray | None:
    """Covariance of the free parameters with the new ones known; None where it cannot be told."""
    if covariance is None or not np.isfinite(covariance).all():
        return None
    found = np.zeros_like(covariance)
    known = covariance[np.ix_(new, free)]
    found[np.ix_(free, free)] = (
        covariance[np.ix_(free, free)] - known.T @ np.linalg.pinv(covariance[np.ix_(new, new)]) @ known
    )
    return found


def _is_positive(covariance: np.ndarray | None, held: tuple[bool, ...]) -> bool:
    if covariance is None:
        return False
    free = ~np.array(held)
    covariance = covariance[np.ix_(free, free)]
    if not np.isfinite(covariance).all():
        return False
    sd = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    return bool((sd > 0).all() and np.linalg.eigvalsh(covariance / np.outer(sd, sd))[0] > 1e-12)


def _block(name: str, covariance, at, size: int, held) -> np.ndarray | None:
    if covariance is None:
        return None
    covariance = np.asarray(covariance, dtype=float)
    if covariance.shape != (size, size):
        raise CMCInputError(f"nlsq_result: {name} has shape {covariance.shape}; expected ({size}, {size}).")
    return np.where(held[:, None] | held, 0.0, covariance[np.ix_(at, at)])
