"""Synthetic measurements with realistic numbers, for the tests of every package that builds on the model.

The flow follows published fits of rheo-XPCS (q 0.0054 1/Å, frames 0.1 s apart, gap 200 µm, 23 angles). Those were made with
the ``homodyne2`` kernel; the shear rates here are divided by π/√2 = 2.22, so that the gap average decays alike. The shear argument
then grows by about 0.3 rad a frame early and 0.1 rad a frame late: every oscillation of sin(x)/x is resolved.

Examples
--------
>>> model, physical, contrast, offset = rheometer_flow(n_phi=4, n_t=20)
>>> model.n_phi, physical.shape, contrast.shape
(4, (7,), (4,))
>>> colloid(n_t=20).maps().shape
(3, 20, 20)
"""

from typing import NamedTuple

import jax
import numpy as np

from homodyne_model._correlation import map_c2
from homodyne_model._two_time_model import TwoTimeModel

__all__ = ["Measurement", "colloid", "rheometer_flow"]


class Measurement(NamedTuple):
    """A model together with the parameters that made its data.

    Attributes
    ----------
    model : TwoTimeModel
        Geometry, frame times and choices.
    physical : (3,) or (7,)
        True physical parameters in their natural units.
    contrast, offset : (n_phi,)
        True scaling of every angle, dimensionless.
    """

    model: TwoTimeModel
    physical: np.ndarray
    contrast: np.ndarray
    offset: np.ndarray

    @property
    def parameters(self) -> np.ndarray:
        """The full vector ``[contrast_0.., offset_0.., *physical]``."""
        return np.concatenate([self.contrast, self.offset, self.physical])

    def maps(self) -> np.ndarray:
        """C2 without noise, (n_phi, n_t, n_t) float64, whatever the precision of the process."""
        with jax.enable_x64(True):
            return np.asarray(map_c2(self.model, self.physical, self.contrast, self.offset))

    def noisy_maps(self, sigma: float, *, seed: int) -> np.ndarray:
        """C2 with independent normal noise on every pair, equal in both triangles like a measured map.

        Parameters
        ----------
        sigma : float
            Standard deviation, dimensionless. Entries of measured maps have 0.02 to 0.35.
        seed : int
            Of the random numbers.

        Returns
        -------
        (n_phi, n_t, n_t) float64
        """
        maps = self.maps()
        noise = np.tril(np.random.default_rng(seed).normal(scale=sigma, size=maps.shape), -1)
        return maps + noise + np.swapaxes(noise, 1, 2)


def _scaling(n_phi: int) -> tuple[np.ndarray, np.ndarray]:
    """Contrast and offset that differ by some percent between angles, as beam and detector make them."""
    angle = np.arange(n_phi)
    return 0.302 * (1 + 0.05 * np.cos(2.0 * angle)), 1.106 + 0.01 * np.sin(3.0 * angle)


def rheometer_flow(
    n_phi: int = 23,
    n_t: int = 200,
    *,
    dt: float = 0.1,
    shear_kernel: str = "gap_average",
    quadrature: str = "trapezoid",
) -> Measurement:
    """A colloid that relaxes after a step strain between the plates of a rheometer: diffusion and shear, both slowing down.

    Parameters
    ----------
    n_phi : int
        Number of detector angles, spread over -170 to 170 degrees.
    n_t : int
        Number of frames.
    dt : float
        Frame spacing [s].
    shear_kernel : {"gap_average", "homodyne2"}
        Kernel; the shear rates are chosen so that both decay alike.
    quadrature : {"trapezoid", "exact"}
        How rates are integrated between frames.

    Returns
    -------
    Measurement
        Laminar flow with 7 physical parameters.
    """
    shear = 1.0 if shear_kernel == "homodyne2" else np.sqrt(2) / np.pi
    model = TwoTimeModel(
        "laminar_flow",
        q=0.0054,
        t=dt * np.arange(n_t),
        phi=np.linspace(-170.0, 170.0, n_phi),
        L=2e6,
        shear_kernel=shear_kernel,
        quadrature=quadrature,
    )
    physical = np.array([6.85e4, -1.327, 1.71e3, 1.99e-3 * shear, -0.212, -6.07e-4 * shear, 2.0])
    return Measurement(model, physical, *_scaling(n_phi))


def colloid(
    n_phi: int = 3, n_t: int = 200, *, dt: float = 0.1, q: float = 0.0054, quadrature: str = "trapezoid"
) -> Measurement:
    """A colloid at rest whose diffusion slows down with age: the correlation falls to 1/e within some 40 frames.

    Parameters
    ----------
    n_phi : int
        Number of detector angles.
    n_t : int
        Number of frames.
    dt : float
        Frame spacing [s].
    q : float
        Wavevector magnitude [1/Å].
    quadrature : {"trapezoid", "exact"}
        How rates are integrated between frames.

    Returns
    -------
    Measurement
        Static mode with 3 physical parameters.
    """
    model = TwoTimeModel(
        "static_isotropic",
        q=q,
        t=dt * np.arange(n_t),
        phi=np.linspace(0.0, 90.0, n_phi),
        quadrature=quadrature,
    )
    return Measurement(model, np.array([1.2e4, -0.45, 1.71e3]), *_scaling(n_phi))
