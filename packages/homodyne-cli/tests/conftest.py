"""Small data, a result made by hand, and ways to run the command."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from homodyne_cli import main
from homodyne_cli._simulate import simulate
from homodyne_cli._simulation import Simulation
from homodyne_data import TwoTimeData, save_npz
from homodyne_model import ParameterLayout, diffusion_coefficient, shear_rate
from homodyne_nlsq import Curve, DeviceInfo, GlobalSearch, OptimizationResult, SearchMinimum

# One shape for all fits of this suite, so that JAX compiles once.
SMALL = {"angles": 5, "frames": 30, "dt": 0.5, "sigma": 0.01}


@pytest.fixture(scope="session", autouse=True)
def cache_home(tmp_path_factory) -> Iterator[Path]:
    """A place for compiled code that is not the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
        yield folder


@pytest.fixture(scope="session")
def sheared() -> TwoTimeData:
    """Laminar flow, 5 angles, 30 frames; symmetric, with σ."""
    return simulate(Simulation(**SMALL))


@pytest.fixture(scope="session")
def still() -> TwoTimeData:
    """Diffusion only, 5 angles, 30 frames."""
    return simulate(Simulation(mode="static_isotropic", **SMALL))


@pytest.fixture(scope="session")
def sheared_file(sheared, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "sheared.npz"
    save_npz(path, sheared)
    return path


@pytest.fixture(scope="session")
def still_file(still, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "still.npz"
    save_npz(path, still)
    return path


@pytest.fixture(scope="session")
def result_of() -> Callable[..., OptimizationResult]:
    """Result as a fit of the data would return it, with chosen fields changed; nothing is fitted."""

    def make(data: TwoTimeData, simulation: Simulation | None = None, **changes) -> OptimizationResult:
        simulation = simulation or Simulation(mode="laminar_flow" if data.L else "static_isotropic", **SMALL)
        layout = ParameterLayout(simulation.mode, data.n_phi)
        physical = np.array([simulation.parameters[name] for name in layout.physical_names])
        contrast = simulation.contrast + 0.01 * np.cos(np.radians(data.phi))
        parameters = np.concatenate([contrast, np.full(data.n_phi, simulation.offset), physical])
        errors = changes.get("uncertainties", 0.02 * np.abs(parameters))
        diffusion = np.asarray(diffusion_coefficient(physical, data.t, dt=data.dt))
        shear = None
        if data.L:
            rate = np.asarray(shear_rate(physical, data.t, dt=data.dt))
            shear = Curve(data.t, rate, 0.05 * np.abs(rate), "1/s")
        values = {
            "parameters": parameters,
            "names": layout.names,
            "units": layout.units,
            "uncertainties": errors,
            "covariance": np.diag(errors**2),
            "covariances": {"robust": np.diag(errors**2), "hessian": np.diag((errors / 2) ** 2)},
            "at_bound": ("",) * layout.size,
            "fixed": np.zeros(layout.size, dtype=bool),
            "chi_squared": 2000.0,
            "reduced_chi_squared": 1.01,
            "robust_cost": None,
            "n_points": data.n_points,
            "dof": data.n_points - layout.size,
            "sigma_source": "given",
            "success": True,
            "message": "The optimum was reached.",
            "iterations": 12,
            "execution_time": 0.5,
            "convergence_status": "converged",
            "quality_flag": "good",
            "distance": 1e-5,
            "device_info": DeviceInfo("structured", False, "standard", (), 0.2, 1, "cpu"),
            "analysis_mode": simulation.mode,
            "shear_kernel": "gap_average",
            "quadrature": "trapezoid",
            "per_angle_mode": "individual",
            "n_scaling": 2 * data.n_phi,
            "anti_degeneracy": (),
            "profiles": (),
            "search": None,
            "covariance_type": "robust",
            "loss": "linear",
            "time_origin": data.time_origin,
            "q": data.q,
            "L": data.L,
            "phi": data.phi,
            "t": data.t,
            "diffusion": Curve(data.t, diffusion, 0.05 * np.abs(diffusion), "Å²/s"),
            "shear": shear,
            "hessian": np.eye(layout.n_physical),
            "identifiability": None,
            "cluster_window": np.full(data.n_phi, 2.0),
            "warnings": (),
            "initial": dict(zip(layout.physical_names, physical.tolist(), strict=True)),
            "settings": {},
            "versions": {},
            "provenance": {},
        }
        return OptimizationResult(**(values | changes))

    return make


@pytest.fixture(scope="session")
def search_of() -> Callable[..., GlobalSearch]:
    """What a multistart would have found, with two minima and chosen fields changed; nothing is searched."""

    def make(data: TwoTimeData, **changes) -> GlobalSearch:
        physical = Simulation(mode="laminar_flow" if data.L else "static_isotropic").parameters
        values = {
            "method": "multi_start",
            "choice": "Multistart: CMA-ES is not enabled.",
            "message": "5 of 10 starts were solved on averages of the data.",
            "stage": "refinement",
            "chi_squared_by_stage": {"start": 2300.5, "search": 2001.25, "refinement": 2000.0},
            "start": physical,
            "evaluations": 15,
            "generations": 0,
            "restarts": 0,
            "seed": 42,
            "scale_ratio": 5e9,
            "stopped": False,
            "undecided": (),
            "runs": (),
            "minima": (
                SearchMinimum(physical, 2001.25, 4, 0.0, True),
                SearchMinimum(physical | {"D0": 3e4, "alpha": -0.25}, 2100.75, 1, 12.345, False),
            ),
        }
        return GlobalSearch(**(values | changes))

    return make


@pytest.fixture
def configure(tmp_path) -> Callable[..., Path]:
    """Write a configuration for a data file: ``configure(file, {"noise": {...}, ...})``."""

    def write(data_file: Path, sections: dict | None = None, name: str = "analysis.yaml") -> Path:
        content = {"experimental_data": {"file_path": str(data_file)}} | (sections or {})
        path = tmp_path / name
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return path

    return write


@pytest.fixture
def command(capsys, monkeypatch, tmp_path) -> Callable[..., tuple[int, str, str]]:
    """Run ``homodyne`` in this process, in ``tmp_path``: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> tuple[int, str, str]:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
