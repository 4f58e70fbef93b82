"""The parameters of the model: names, units, defaults, bounds, and their order in a vector.

Everything that lists parameters - bounds of a fit, columns of a table, labels of a plot - reads this registry, so that
a parameter has one name, one unit and one default.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import numpy as np

from homodyne_model.errors import ModelError


class AnalysisMode(StrEnum):
    """Which transport the model describes.

    ``STATIC_ISOTROPIC`` has diffusion only (3 physical parameters), ``LAMINAR_FLOW`` diffusion and shear (7).
    """

    STATIC_ISOTROPIC = "static_isotropic"
    LAMINAR_FLOW = "laminar_flow"

    @classmethod
    def parse(cls, name: "str | AnalysisMode") -> "AnalysisMode":
        """Mode of that name; ``static`` and ``static_anisotropic`` are names of the static mode too.

        Raises
        ------
        ModelError
            If no mode has that name.

        Examples
        --------
        >>> AnalysisMode.parse("static")
        <AnalysisMode.STATIC_ISOTROPIC: 'static_isotropic'>
        """
        known = {mode.value: mode for mode in cls}
        known |= {"static": cls.STATIC_ISOTROPIC, "static_anisotropic": cls.STATIC_ISOTROPIC}
        key = str(name).strip().lower()
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ModelError(f"analysis_mode is {name!r}; expected one of {', '.join(known)}.{hint}")
        return known[key]

    @property
    def physical_names(self) -> tuple[str, ...]:
        """Names of the physical parameters, in the order of the parameter vector."""
        names = ("D0", "alpha", "D_offset")
        if self is AnalysisMode.LAMINAR_FLOW:
            names += ("gamma_dot_t0", "beta", "gamma_dot_t_offset", "phi0")
        return names


@dataclass(frozen=True)
class Parameter:
    """One parameter of the model.

    Attributes
    ----------
    name : str
        As in configurations, results and tables.
    unit : str
        Empty when dimensionless.
    default : float or None
        Start value used when nothing better is known; None means that the data give it.
    lower, upper : float
        Default bounds; infinite where the parameter is free.
    description : str
        One phrase for tables and help texts.
    latex : str
        Symbol for axis labels, without dollar signs.
    """

    name: str
    unit: str
    default: float | None
    lower: float
    upper: float
    description: str
    latex: str


_ALL = (
    Parameter("contrast", "", None, 0.0, 1.0, "speckle contrast of an angle", r"\mathrm{contrast}"),
    Parameter("offset", "", None, 0.5, 1.5, "baseline of C2 of an angle", r"\mathrm{offset}"),
    Parameter("D0", "Å²/s", None, 1.0, 1e9, "power-law part of D(t) at t = 1 s", r"D_0"),
    Parameter("alpha", "", None, -2.0, 2.0, "exponent of D(t)", r"\alpha"),
    Parameter("D_offset", "Å²/s", 0.0, -1e5, 1e5, "constant part of D(t)", r"D_\mathrm{offset}"),
    Parameter(
        "gamma_dot_t0", "1/s", None, 1e-6, 0.5, "power-law part of the shear rate at t = 1 s", r"\dot\gamma_0"
    ),
    Parameter("beta", "", None, -2.0, 2.0, "exponent of the shear rate", r"\beta"),
    Parameter(
        "gamma_dot_t_offset",
        "1/s",
        0.0,
        -0.1,
        0.1,
        "constant part of the shear rate",
        r"\dot\gamma_\mathrm{offset}",
    ),
    Parameter(
        "phi0", "deg", None, -np.inf, np.inf, "direction of the flow, periodic by 180 deg", r"\varphi_0"
    ),
)

PARAMETERS: Mapping[str, Parameter] = MappingProxyType({p.name: p for p in _ALL})
"""Registry of all parameters by name. Source of the values: default starts and bounds of the physics conventions."""


@dataclass(frozen=True)
class ParameterLayout:
    """Order of the full parameter vector ``[contrast_0.., offset_0.., *physical]``.

    Parameters
    ----------
    analysis_mode : str or AnalysisMode
        Decides the physical parameters.
    n_phi : int
        Number of angles, at least 1.

    Examples
    --------
    >>> layout = ParameterLayout("laminar_flow", 23)
    >>> layout.size, layout.n_physical, layout.names[46]
    (53, 7, 'D0')
    """

    analysis_mode: AnalysisMode
    n_phi: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "analysis_mode", AnalysisMode.parse(self.analysis_mode))
        if not isinstance(self.n_phi, int | np.integer) or self.n_phi < 1:
            raise ModelError(f"n_phi is {self.n_phi!r}; expected a whole number of angles, at least 1.")

    @property
    def physical_names(self) -> tuple[str, ...]:
        """Names of the physical parameters."""
        return self.analysis_mode.physical_names

    @property
    def n_physical(self) -> int:
        """Number of physical parameters, 3 or 7."""
        return len(self.physical_names)

    @property
    def size(self) -> int:
        """Length of the full vector."""
        return 2 * self.n_phi + self.n_physical

    @property
    def contrast(self) -> slice:
        """Where the contrasts stand."""
        return slice(0, self.n_phi)

    @property
    def offset(self) -> slice:
        """Where the offsets stand."""
        return slice(self.n_phi, 2 * self.n_phi)

    @property
    def physical(self) -> slice:
        """Where the physical parameters stand."""
        return slice(2 * self.n_phi, self.size)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all entries, ``contrast_0`` first."""
        return (
            tuple(f"{kind}_{a}" for kind in ("contrast", "offset") for a in range(self.n_phi))
            + self.physical_names
        )

    @property
    def units(self) -> tuple[str, ...]:
        """Units of all entries; empty when dimensionless."""
        return ("",) * (2 * self.n_phi) + tuple(PARAMETERS[name].unit for name in self.physical_names)

    def split(self, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Contrasts (n_phi,), offsets (n_phi,) and physical parameters of a full vector.

        Raises
        ------
        ModelError
            If the vector has another length than ``size``.
        """
        if np.shape(vector) != (self.size,):
            raise ModelError(
                f"the parameter vector has shape {np.shape(vector)}; expected ({self.size},) for {self.n_phi} angles "
                f"in mode {self.analysis_mode.value}."
            )
        return vector[self.contrast], vector[self.offset], vector[self.physical]
