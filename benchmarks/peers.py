"""The same file fitted by us and by the public programs homodyne 2.x and xpcsjax, each as it is documented, from the same start values.

Usage: ``peers.py PYTHON [--frames N ...] [--limit SECONDS]`` with the interpreter of an environment that has the two programs. The data are
made with the shear kernel that they use. Every fit is a process of its own; χ² and deviations are ours, from the parameters that came back.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np
from measurement import SIGMA, machine, sheared_colloid, timed

from homodyne_data import load_xpcs, save_apsu
from homodyne_model import TwoTimeModel, map_g1
from homodyne_nlsq import fit_nlsq_jax

KERNEL = "homodyne2"
N_PHI, N_PHYSICAL = 23, 7


def start_values(truth: dict[str, float]) -> dict[str, float]:
    """Rates half of the true ones, exponents and angle off: inside the bounds of the programs' templates, with a positive shear rate."""
    shifts = {"alpha": 0.2, "beta": 0.1, "phi0": 5.0}
    return {name: value + shifts[name] if name in shifts else value / 2 for name, value in truth.items()}


def write(folder: str, n_t: str) -> None:
    """Write the measurement, and what a program must be told beside it, into a folder."""
    data, truth = sheared_colloid(N_PHI, int(n_t), KERNEL)
    path = Path(folder).resolve() / "maps.hdf"
    save_apsu(path, data)
    measured = {"n_t": data.n_t, "dt": data.dt, "q": data.q, "L": data.L, "sigma": SIGMA}
    task = {"data": str(path), **measured, "truth": truth, "start": start_values(truth)}
    path.with_name("task.json").write_text(json.dumps(task), encoding="utf-8")


def fit(task_path: str) -> None:
    """Our fit, in a process of its own like theirs."""
    task = read(Path(task_path))
    data = load_xpcs(task["data"])
    config = {"analysis_mode": "laminar_flow", "shear_kernel": KERNEL, "initial": task["start"]}
    seconds, result = timed(lambda: fit_nlsq_jax(data, config))
    found = {
        "seconds": seconds,
        "says": f"{result.convergence_status}, {result.quality_flag}",
        "parameters": result.parameters.tolist(),
        "errors": list(result.physical_error.values()),
        "failure": "",
    }
    Path("result.json").write_text(json.dumps(found), encoding="utf-8")


def judge(task_path: str, result_path: str, our_path: str) -> None:
    """Print the reduced χ² with contrast and offset as returned and with the best ones, and the largest deviation from the truth."""
    task, ours = read(Path(task_path)), read(Path(our_path))
    parameters = read(Path(result_path))["parameters"]
    scaling, physical = np.array(parameters[:-N_PHYSICAL]), np.array(parameters[-N_PHYSICAL:])
    data = load_xpcs(task["data"])
    model = TwoTimeModel("laminar_flow", q=data.q, t=data.t, phi=data.phi, L=data.L, shear_kernel=KERNEL)
    later = np.tril_indices(data.n_t, -1)
    returned, best = 0.0, 0.0
    for a in range(N_PHI):
        with jax.enable_x64(True):
            g1 = np.asarray(map_g1(model.at_angles(model.phi[a : a + 1]), physical))[0]
        columns = np.column_stack([g1[later] ** 2, np.ones(len(later[0]))])
        c2 = data.c2[a][later].astype(float)
        pair, *_ = np.linalg.lstsq(columns, c2)
        best += np.sum((c2 - columns @ pair) ** 2) / SIGMA**2
        if scaling.size:  # contrasts, then offsets: of every angle, or one of each for all
            pair = scaling.reshape(2, -1)[:, min(a, scaling.size // 2 - 1)]
        returned += np.sum((c2 - columns @ pair) ** 2) / SIGMA**2
    dof = data.n_points - 2 * N_PHI - N_PHYSICAL
    off = physical - list(task["truth"].values())
    off[-1] = (off[-1] + 90) % 180 - 90  # phi0
    deviations = np.abs(off) / ours["errors"]
    worst = int(np.argmax(deviations))
    print(
        f"{returned / dof:>12.4f}{best / dof:>12.4f}{deviations[worst]:>12.1f} {list(task['truth'])[worst]}",
        flush=True,
    )


def read(path: Path) -> dict:
    """A mapping from a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def last_line(path: Path) -> str:
    """End of a text, which tells why a program broke off."""
    return (path.read_text(encoding="utf-8", errors="replace").splitlines() or ["said nothing"])[-1]


def run(command: list[str], folder: Path, limit: float) -> tuple[float, float, int]:
    """Seconds, peak memory [MB] and exit code of a program, run in a folder until it ends or the limit is over."""
    # An empty home: nothing compiled before is found, and nothing is left behind.
    env = os.environ | {"HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
    with open(folder / "log.txt", "w", encoding="utf-8") as log:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=subprocess.STDOUT)
        killer = threading.Timer(limit, process.kill)
        killer.start()
        _, status, used = os.wait4(process.pid, 0)
        killer.cancel()
    unit = 1 if sys.platform == "darwin" else 1024
    seconds, peak = time.perf_counter() - started, used.ru_maxrss * unit / 1e6
    return seconds, peak, os.waitstatus_to_exitcode(status)


def side_by_side(python: str, n_t: int, limit: float) -> None:
    """Fit one file by every program in turn."""
    here = Path(__file__).resolve()
    peer = str(here.with_name("peer_fit.py"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        task = str(folder / "task.json")
        subprocess.run([sys.executable, str(here), "write", name, str(n_t)], check=True)
        commands = {("homodyne-nlsq", "ours"): [sys.executable, str(here), "fit", task]}
        for program in ("homodyne", "xpcsjax"):
            for settings in ("shipped", "ours"):
                commands[program, settings] = [python, peer, program, settings, task]
        ours = folder / "homodyne-nlsq-ours" / "result.json"
        for (program, settings), command in commands.items():
            own = folder / f"{program}-{settings}"
            own.mkdir()
            seconds, peak, code = run(command, own, limit)
            result = own / "result.json"
            print(f"{n_t:>6}{program:>15}{settings:>9}", end="")
            if not result.exists():
                says = (
                    "not finished" if seconds > limit else f"exit code {code}: {last_line(own / 'log.txt')}"
                )
                print(f"{'':>9}{seconds:>13.1f}{peak:>11.0f}  {says}", flush=True)
                continue
            found = read(result)
            print(
                f"{found['seconds']:>9.1f}{seconds:>13.1f}{peak:>11.0f}  {found['says']:<16}",
                end="",
                flush=True,
            )
            subprocess.run([sys.executable, str(here), "judge", task, str(result), str(ours)], check=True)
            if found["failure"]:
                print(f"{'':>30}{found['failure']}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("python")
    parser.add_argument("--frames", type=int, nargs="+", default=[200, 500])
    parser.add_argument("--limit", type=float, default=600.0)
    given = parser.parse_args()
    names = ("homodyne", "xpcsjax", "jax")
    asked = f"from importlib.metadata import version; print(*(f'{{n}} {{version(n)}}' for n in {names}), sep=', ')"
    theirs = subprocess.run([given.python, "-c", asked], check=True, capture_output=True, text=True).stdout
    print(f"{machine()}, homodyne-nlsq {version('homodyne-nlsq')}; theirs: {theirs.strip()}")
    print(
        f"\nThe whole fit of the same file, {N_PHI} angles, from the same start values, each in a fresh process with compilation.\n"
        "Settings 'shipped' are those of the program's template for laminar flow; 'ours' are a contrast and offset for every angle, plain\n"
        "least squares and the true σ. Reduced χ² with contrast and offset as returned, then with the best ones; largest deviation of a\n"
        "physical parameter from the truth in our standard errors."
    )
    print(
        f"{'frames':>6}{'program':>15}{'settings':>9}{'fit [s]':>9}{'process [s]':>13}{'peak [MB]':>11}  {'says':<16}"
        f"{'returned':>12}{'best':>12}{'off [s.e.]':>12}",
        flush=True,
    )
    for n_t in given.frames:
        side_by_side(given.python, n_t, given.limit)


if __name__ == "__main__":
    steps = {"write": write, "fit": fit, "judge": judge}
    if sys.argv[1:] and sys.argv[1] in steps:
        steps[sys.argv[1]](*sys.argv[2:])
    else:
        main()
