"""`homodyne simulate`: two-time maps of known parameters, with noise or from speckle and photons."""

import json
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np

from homodyne_cli._files import write_text
from homodyne_cli._simulation import Simulation
from homodyne_data import Provenance, TwoTimeData, save_apsu, save_npz, simulate_speckle, simulate_two_time
from homodyne_memory import total_memory_gb
from homodyne_model import AnalysisMode, ModelError, correlation, field_correlation

SUFFIXES = (".npz", ".hdf", ".h5", ".hdf5")
"""Endings of data files: npz, and HDF5 in the APS-U layout."""

_BYTES_PER_ENTRY = 20  # of a map, at the peak of a simulation; measured


def physical(simulation: Simulation) -> np.ndarray:
    """Physical parameters in the order of the model, (3,) or (7,) float64."""
    return np.array(
        [simulation.parameters[name] for name in AnalysisMode.parse(simulation.mode).physical_names]
    )


def angles(simulation: Simulation) -> np.ndarray:
    """Detector angles, (angles,) [deg], from -180 upwards in even steps around the circle."""
    return -180.0 + 360.0 / simulation.angles * np.arange(simulation.angles)


def simulate(simulation: Simulation) -> TwoTimeData:
    """Simulated data.

    Raises
    ------
    ValueError
        If the maps would not fit into the memory.
    ModelError
        If |g1| exceeds 1 (D(t) negative somewhere), which no field has.
    """
    needed = _BYTES_PER_ENTRY * simulation.angles * simulation.frames**2 / 1e9
    if needed > total_memory_gb():
        raise ValueError(
            f"{simulation.angles} angles of {simulation.frames} frames need about {needed:.3g} GB of memory, "
            f"of which there are {total_memory_gb():.3g}; choose fewer frames or angles"
        )
    gap = simulation.gap if simulation.sheared else None
    t, phi = simulation.dt * np.arange(simulation.frames), angles(simulation)
    geometry = (simulation.q, t, phi, gap)
    with jax.enable_x64(True):
        if simulation.speckle is None:
            clean = correlation(physical(simulation), simulation.contrast, simulation.offset, *geometry)
            c2 = simulate_two_time(
                np.asarray(clean, dtype=np.float32), simulation.sigma, seed=simulation.seed
            )
        else:
            g1 = np.asarray(field_correlation(physical(simulation), *geometry))
            if np.abs(g1).max() > 1 + 1e-9:
                raise ModelError("D(t) is negative somewhere: |g1| exceeds 1, which no speckle field has")
            c2 = simulate_speckle(
                g1,
                n_pixels=simulation.speckle.pixels,
                contrast=simulation.contrast,
                mean_counts=simulation.speckle.counts,
                seed=simulation.seed,
            )
    return TwoTimeData(
        c2=c2,
        phi=phi,
        t=t,
        q=simulation.q,
        L=gap,
        sigma=simulation.sigma if simulation.speckle is None else None,
        provenance=Provenance(source="homodyne simulate"),
    )


def write_simulation(simulation: Simulation, output: Path, *, overwrite: bool = False) -> tuple[Path, Path]:
    """Simulate, and write the data and what is true about them.

    Parameters
    ----------
    simulation : Simulation
        What to simulate.
    output : Path
        Data file, .npz or .hdf (.h5, .hdf5); its folder must exist. The truth goes beside it, into
        ``<name>.truth.json``.
    overwrite : bool
        Replace files that are there.

    Returns
    -------
    (Path, Path)
        The data file and the truth.

    Raises
    ------
    ValueError
        If the ending is another one, or the maps would not fit into the memory.
    FileExistsError
        If one of the files exists and `overwrite` is false.
    FileNotFoundError
        If the folder does not exist.
    """
    if output.suffix not in SUFFIXES:
        raise ValueError(
            f"the output {output} ends in {output.suffix!r}; expected one of {', '.join(SUFFIXES)}"
        )
    truth = output.with_suffix(".truth.json")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"the folder {output.parent} does not exist")
    for path in (output, truth):
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path} exists; name another file, or replace it with --overwrite")
    data = simulate(simulation)
    write = save_npz if output.suffix == ".npz" else save_apsu
    write(output, data, overwrite=overwrite)
    write_text(truth, json.dumps(truth_of(simulation), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return output, truth


def truth_of(simulation: Simulation) -> dict[str, object]:
    """Everything that was put in, as plain values; kernel, quadrature and time origin are the defaults."""
    speckle = simulation.speckle
    noise = (
        {"sigma": simulation.sigma}
        if speckle is None
        else {"pixels": speckle.pixels, "counts": speckle.counts}
    )
    return {
        "schema": {"name": "homodyne-truth", "version": 1},
        "homodyne_cli": version("homodyne-cli"),
        "analysis_mode": simulation.mode,
        "shear_kernel": "gap_average",
        "quadrature": "trapezoid",
        "parameters": dict(simulation.parameters),
        "contrast": simulation.contrast,
        "offset": 1.0 if speckle is not None else simulation.offset,
        "q": simulation.q,
        "L": simulation.gap if simulation.sheared else None,
        "phi": angles(simulation).tolist(),
        "dt": simulation.dt,
        "n_t": simulation.frames,
        "noise": noise,
        "seed": simulation.seed,
    }
