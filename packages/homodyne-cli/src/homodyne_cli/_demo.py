"""`homodyne demo`: simulate a sheared colloid, fit it like a measurement, compare with what is true."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
from rich.table import Table

from homodyne_cli._config_read import load_configuration
from homodyne_cli._console import Terminal
from homodyne_cli._files import write_text
from homodyne_cli._fits import Run
from homodyne_cli._output import holds_results
from homodyne_cli._report_numbers import with_error
from homodyne_cli._run import run
from homodyne_cli._simulate import physical, write_simulation
from homodyne_cli._simulation import Simulation
from homodyne_model import PARAMETERS, diffusion_coefficient, shear_rate
from homodyne_nlsq import OptimizationResult

if TYPE_CHECKING:
    from homodyne_cmc import CMCResult

DEFAULT_DIRECTORY = "homodyne-demo"

_CONFIGURATION = """\
# A sheared colloid, simulated by `homodyne demo`. Fit it again:
#     homodyne --config sheared_colloid.yaml --output again
# All keys and their defaults: homodyne config

analysis_mode: laminar_flow

experimental_data:
  file_path: sheared_colloid.npz

# Start values come from the data. Try e.g. to hold the exponent of the shear rate at 0:
# initial_parameters:
#   fixed_parameters: {beta: 0.0}
"""


def demo(
    terminal: Terminal,
    *,
    output: Path | None = None,
    overwrite: bool = False,
    simulation: Simulation | None = None,
    method: str | None = None,
) -> Run:
    """Simulate, fit and compare.

    Parameters
    ----------
    terminal : Terminal
        Where to report.
    output : Path, optional
        Folder for everything. By default ``homodyne-demo`` in the current folder, or the first of
        ``homodyne-demo-2``, ``-3`` ... that does not exist.
    overwrite : bool
        Replace an earlier demo in `output`.
    simulation : Simulation, optional
        What to simulate, of laminar flow; by default its own defaults.
    method : {"nlsq", "cmc", "both"}, optional
        What to do with it; least squares by default.

    Raises
    ------
    FileExistsError
        If `output` holds an earlier demo and `overwrite` is false.
    """
    folder = _free_folder() if output is None else output
    if not overwrite and ((folder / "sheared_colloid.npz").exists() or holds_results(folder / "results")):
        raise FileExistsError(
            f"{folder} already holds a demo; name another folder, or replace it with --overwrite"
        )
    simulation = simulation or Simulation()
    terminal.say(
        f"A sheared colloid: {simulation.angles} angles, {simulation.frames} frames of {simulation.dt:g} s, "
        f"q = {simulation.q:g} 1/Å, gap {simulation.gap / 1e4:g} µm, contrast {simulation.contrast:g}, "
        f"noise {simulation.sigma:g} per entry of a map."
    )
    folder.mkdir(parents=True, exist_ok=True)
    with terminal.progress() as progress:
        progress.step("simulating")
        data_file, truth_file = write_simulation(
            simulation, folder / "sheared_colloid.npz", overwrite=overwrite
        )
    configuration = folder / "sheared_colloid.yaml"
    write_text(configuration, _CONFIGURATION)
    loaded = load_configuration(configuration, method=method)
    done = run(loaded, terminal, output=folder / "results", overwrite=overwrite)
    terminal.say(f"and in {folder}: {data_file.name}, {truth_file.name}, {configuration.name}")
    fit = done.fits[0]
    show_comparison(terminal, fit.result, simulation)
    if fit.posterior is not None:
        show_posterior_comparison(terminal, fit.posterior, simulation)
    return done


def show_comparison(terminal: Terminal, result: OptimizationResult, simulation: Simulation) -> None:
    """Print fitted against true values with z = (fitted - true) / uncertainty."""
    table = Table(
        title="fitted and true values", title_justify="left", title_style="bold", box=None, pad_edge=False
    )
    for column, justify in (
        ("", "left"),
        ("fitted", "right"),
        ("±", "right"),
        ("true", "right"),
        ("z", "right"),
    ):
        table.add_column(column, justify=justify, no_wrap=True)
    table.add_column("unit", no_wrap=True)
    for name, true in simulation.parameters.items():
        # phi0 and phi0 + 180° are the same flow.
        away = (lambda d: math.remainder(d, 180.0)) if name == "phi0" else float
        value, error = result.physical[name], result.physical_error[name]
        table.add_row(name, *_compared(value, error, true, away(value - true)), PARAMETERS[name].unit)
    for symbol, curve, law in (
        ("D", result.diffusion, diffusion_coefficient),
        ("γ̇", result.shear, shear_rate),
    ):
        value, error = curve.at(result.t_mid)
        with jax.enable_x64(True):
            true = float(law(physical(simulation), np.array([result.t_mid]), dt=simulation.dt)[0])
        table.add_row(
            f"{symbol}({result.t_mid:.3g} s)", *_compared(value, error, true, value - true), curve.unit
        )
    terminal.out.print()
    terminal.table(table)
    for kind, true in (("contrast", simulation.contrast), ("offset", simulation.offset)):
        values = getattr(result, kind)
        z = (values - true) / getattr(result, f"{kind}_error")
        if result.per_angle_mode == "constant":
            terminal.say(f"{kind} of all angles, true {true:g}: {values[0]:.4f}, z {z[0]:+.2f}")
            continue
        terminal.say(
            f"{kind} of {z.size} angles, true {true:g}: mean {np.mean(values):.4f}, "
            f"z from {np.min(z):.1f} to {np.max(z):.1f}, root mean square {np.sqrt(np.mean(z**2)):.2f}"
        )


def show_posterior_comparison(terminal: Terminal, posterior: "CMCResult", simulation: Simulation) -> None:
    """Print posterior means against true values with z = (mean - true) / sd, and where in the posterior the truth lies."""
    table = Table(
        title="posterior and true values", title_justify="left", title_style="bold", box=None, pad_edge=False
    )
    for column in ("", "mean", "± sd", "true", "z", "draws below"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    for k, (name, true) in enumerate(simulation.parameters.items()):
        mean, sd = posterior.mean[name], posterior.sd[name]
        away, drawn = mean - true, posterior.draws[:, k] - true
        if name == "phi0":  # and phi0 + 180° are the same flow
            away, drawn = math.remainder(away, 180.0), drawn - 180 * np.round(drawn / 180)
        below = f"{np.mean(drawn < 0):.0%}" if drawn.size else ""
        table.add_row(name, *_compared(mean, sd, true, away), below, PARAMETERS[name].unit)
    terminal.out.print()
    terminal.table(table)


def _compared(value: float, error: float, true: float, away: float) -> tuple[str, str, str, str]:
    shown, uncertainty = with_error(value, error)
    return (
        shown,
        uncertainty,
        f"{true:.4g}",
        f"{away / error:+.2f}" if math.isfinite(error) and error > 0 else "",
    )


def _free_folder() -> Path:
    """First of homodyne-demo, homodyne-demo-2, ... that does not exist."""
    number, folder = 1, Path(DEFAULT_DIRECTORY)
    while folder.exists():
        number += 1
        folder = Path(f"{DEFAULT_DIRECTORY}-{number}")
    return folder
