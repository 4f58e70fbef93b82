"""What `homodyne simulate` can simulate: settings and defaults. Imports nothing heavy, so help is quick."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

REFERENCE: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "static_isotropic": MappingProxyType({"D0": 2e4, "alpha": -0.5, "D_offset": 1e3}),
        # A published fit of rheo-XPCS data (xpcsjax), with its shear rates divided by pi/sqrt(2): by so much
        # the kernel of that program gives weak shear larger than the gap average does.
        "laminar_flow": MappingProxyType(
            {
                "D0": 6.85e4,
                "alpha": -1.327,
                "D_offset": 1.71e3,
                "gamma_dot_t0": 8.96e-4,
                "beta": -0.212,
                "gamma_dot_t_offset": -2.73e-4,
                "phi0": 2.0,
            }
        ),
    }
)
"""Physical parameters of each analysis mode that are simulated unless others are given, in their units."""

SUFFIXES = (".npz", ".hdf", ".h5", ".hdf5")
"""Endings of data files: npz, and HDF5 in the APS-U layout."""


@dataclass(frozen=True)
class Speckle:
    """Simulation from first principles: speckle and photons.

    Attributes
    ----------
    pixels : int
        Pixels per angle.
    counts : float
        Photons per pixel and frame.
    """

    pixels: int = 3000
    counts: float = 0.5

    def __post_init__(self) -> None:
        if self.pixels < 2:
            raise ValueError(f"pixels is {self.pixels}; expected at least 2")
        if not 0 < self.counts < math.inf:
            raise ValueError(f"counts is {self.counts}; expected a number above 0")


@dataclass(frozen=True)
class Simulation:
    """What is simulated.

    Attributes
    ----------
    mode : str
        Analysis mode.
    parameters : Mapping of str to float
        Physical parameters; those left out are the reference values of the mode.
    angles, frames : int
        Angles, evenly spaced around the circle; frames.
    dt : float
        Time between frames [s].
    q : float
        Wavevector [1/Å].
    gap : float
        Stator-rotor gap [Å]; without effect in the static mode.
    contrast, offset : float
        Of every angle. Speckle has offset 1.
    sigma : float
        Standard deviation of the noise of one entry; without effect for `speckle`.
    speckle : Speckle or None
        From first principles instead of normal noise on the exact maps.
    seed : int
        Of the noise.

    Raises
    ------
    ValueError
        If a number is out of range or a parameter is not one of the mode.
    """

    mode: str = "laminar_flow"
    parameters: Mapping[str, float] = field(default_factory=dict)
    angles: int = 23
    frames: int = 200
    dt: float = 0.1
    q: float = 0.0054
    gap: float = 2e6
    contrast: float = 0.3
    offset: float = 1.0
    sigma: float = 0.02
    speckle: Speckle | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        if self.mode in ("static", "static_anisotropic"):
            object.__setattr__(self, "mode", "static_isotropic")
        if self.mode not in REFERENCE:
            raise ValueError(f"mode is {self.mode!r}; expected one of {', '.join(REFERENCE)}")
        known = REFERENCE[self.mode]
        wrong = [name for name in self.parameters if name not in known]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: no parameter of {self.mode}; it has {', '.join(known)}")
        object.__setattr__(self, "parameters", {**known, **self.parameters})
        for name, least in (("angles", 1), ("frames", 3), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least {least}")
        for name in ("dt", "q", "gap", "contrast", "sigma"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a number above 0")
        for name, value in {"offset": self.offset, **self.parameters}.items():
            if not math.isfinite(value):
                raise ValueError(f"{name} is {value}; expected a finite number")
        if self.speckle is not None and self.contrast > 1:
            raise ValueError(
                f"contrast is {self.contrast}; expected at most 1, the contrast of full coherence"
            )

    @property
    def sheared(self) -> bool:
        """Whether there is shear flow."""
        return self.mode == "laminar_flow"
