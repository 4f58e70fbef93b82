"""A fit by one of the public programs homodyne 2.x and xpcsjax, run by `peers` in an environment that has them and nothing of ours.

The documented way: the configuration template that the program brings, with what it must be told of the measurement, its reader, its fit.
"""

import json
import sys
import time
from importlib import import_module
from importlib.resources import files
from pathlib import Path

import numpy as np
import yaml

FIT = {"homodyne": ("homodyne.optimization", "fit_nlsq_jax"), "xpcsjax": ("xpcsjax", "fit_nlsq")}


def configuration(program: str, settings: str, task: dict) -> dict:
    """The program's template for laminar flow, with the measurement and the start values filled in."""
    template = files(f"{program}.config") / "templates" / f"{program}_laminar_flow.yaml"
    config = yaml.safe_load(template.read_text(encoding="utf-8"))
    path = Path(task["data"])
    config["analyzer_parameters"] |= {
        "dt": task["dt"],
        "start_frame": 1,
        "end_frame": task["n_t"],
        "scattering": {"wavevector_q": task["q"]},
        "geometry": {"stator_rotor_gap": task["L"]},
    }
    config["experimental_data"] |= {
        "file_path": str(path),
        "data_folder_path": str(path.parent),
        "data_file_name": path.name,
        "cache_file_path": ".",
    }
    # The templates choose some of the angles.
    config["phi_filtering"]["enabled"] = False
    initial = config["initial_parameters"]
    initial["values"] = [task["start"][name] for name in initial["parameter_names"]]
    if settings == "ours":
        nlsq = config["optimization"]["nlsq"]
        nlsq["loss"] = "linear"
        nlsq["anti_degeneracy"]["per_angle_mode"] = "individual"
    return config


def main(program: str, settings: str, task_path: str) -> None:
    """Fit in the working directory; what the program returns is written to ``result.json`` there."""
    task = json.loads(Path(task_path).read_text(encoding="utf-8"))
    config = yaml.safe_dump(configuration(program, settings, task), allow_unicode=True)
    Path("config.yaml").write_text(config, encoding="utf-8")
    data = import_module(f"{program}.data").load_xpcs_data("config.yaml")
    manager = import_module(f"{program}.config").ConfigManager("config.yaml")
    if settings == "ours":
        data["sigma"] = np.full(data["c2_exp"].shape, task["sigma"])
    module, name = FIT[program]
    fit = getattr(import_module(module), name)
    started = time.perf_counter()
    result = fit(data, manager)
    found = {
        "seconds": time.perf_counter() - started,
        "says": f"{result.convergence_status}, {result.quality_flag}",
        "parameters": np.asarray(result.parameters, dtype=float).tolist(),
        "failure": " ".join(str(result.device_info.get("wrapper_error", "")).split())[:200],
    }
    Path("result.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
