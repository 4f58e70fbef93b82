"""What a local solver returns, in one form."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from homodyne_global.errors import GlobalSearchError


@dataclass(frozen=True)
class LocalSolution:
    """A minimum that a local solver found.

    A solver may return this, any object with ``parameters``, ``cost`` and optionally the other attributes, or a sequence (parameters, cost) or
    (parameters, cost, covariance).

    Attributes
    ----------
    parameters : ndarray, (d,)
        Where it ended.
    cost : float
        There.
    covariance : ndarray, (d, d) or None
        Of the parameters.
    success : bool
        Whether it came to rest.
    message : str
        How it ended.
    """

    parameters: np.ndarray
    cost: float
    covariance: np.ndarray | None = None
    success: bool = True
    message: str = ""

    @classmethod
    def of(cls, returned: Any, n_parameters: int, name: str) -> "LocalSolution":
        """The solution in what a solver returned.

        Parameters
        ----------
        returned : object
            As described above.
        n_parameters : int
            Expected.
        name : str
            Of the solver, for messages.

        Raises
        ------
        GlobalSearchError
            If it is something else.
        """
        if hasattr(returned, "parameters") and hasattr(returned, "cost"):
            values = {
                f: getattr(returned, f) for f in ("covariance", "success", "message") if hasattr(returned, f)
            }
            parameters, cost = returned.parameters, returned.cost
        else:
            try:
                parameters, cost, *rest = returned
                (covariance,) = rest or (None,)
            except (TypeError, ValueError) as error:
                raise GlobalSearchError(
                    f"{name} returned {returned!r:.200}; expected parameters, cost and, if known, covariance."
                ) from error
            values = {"covariance": covariance}
        parameters = np.array(parameters, dtype=float)
        if parameters.shape != (n_parameters,):
            raise GlobalSearchError(
                f"{name} returned parameters of shape {parameters.shape}; expected ({n_parameters},)."
            )
        if values.get("covariance") is not None:
            values["covariance"] = np.array(values["covariance"], dtype=float)
            if values["covariance"].shape != (n_parameters, n_parameters):
                raise GlobalSearchError(
                    f"{name} returned a covariance of shape {values['covariance'].shape}; expected ({n_parameters}, {n_parameters})."
                )
        return cls(parameters, float(cost), **values)
