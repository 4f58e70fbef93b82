"""The files of a run: those of one fit, and those of all q together."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

from homodyne_cli._arrays import write_arrays, write_maps
from homodyne_cli._config import Output
from homodyne_cli._config_read import LoadedConfiguration
from homodyne_cli._console import ProgressLine
from homodyne_cli._files import write_text
from homodyne_cli._fits import Fit
from homodyne_cli._plots import SummaryPoint, plot_against_q, plot_fit
from homodyne_cli._tables import write_minima, write_parameters, write_profiles, write_series
from homodyne_data import TwoTimeData, TwoTimeStream


def results_directory(loaded: LoadedConfiguration) -> Path:
    """Folder that the configuration names, relative to its file; by default ``<its name>-results`` here."""
    named = loaded.configuration.output.path(loaded.path.parent)
    return Path(f"{loaded.path.stem}-results") if named is None else named


def folder_names(held: list[float]) -> list[str]:
    """One name a q, different even where q agree to five digits."""
    names = [f"q_{q:.5g}" for q in held]
    return [name if names.count(name) == 1 else f"{name}_{k}" for k, name in enumerate(names, start=1)]


def as_start(output: Output) -> Output:
    """What is written of a fit that a posterior only starts from: its numbers; no plots, and maps only where they are wanted."""
    maps = False if output.fitted_maps == "auto" else output.fitted_maps
    return dataclasses.replace(output, plots=(), fitted_maps=maps)


def write_fit(
    fit: Fit,
    data: TwoTimeData | TwoTimeStream,
    output: Output,
    progress: ProgressLine,
    *,
    overwrite: bool,
) -> list[Path]:
    """Write the files of one fit."""
    result, folder = fit.result, fit.folder
    folder.mkdir(parents=True, exist_ok=True)
    with_maps = not fit.streamed if output.fitted_maps == "auto" else output.fitted_maps
    if with_maps and not fit.streamed:
        files = [Path(path) for path in result.save(folder, data, overwrite=overwrite).values()]
    else:
        files = [folder / "result.json", folder / "arrays.npz"]
        write_text(files[0], result.to_json())
        write_arrays(files[1], result)
    if with_maps and fit.streamed:
        files += write_maps(data, result, folder, advance=progress.detail)
    table = folder / "parameters.csv"
    write_parameters(table, result)
    files.append(table)
    if result.profiles:
        intervals = folder / "profiles.csv"
        write_profiles(intervals, result)
        files.append(intervals)
    if result.search is not None and result.search.minima:
        minima = folder / "minima.csv"
        write_minima(minima, result)
        files.append(minima)
    if output.plots:
        progress.step(f"q = {data.q:.4g} 1/Å: plotting")
        files += plot_fit(
            data, result, folder, kinds=output.plots, formats=output.formats, advance=progress.detail
        )
    return files


def write_shared(loaded: LoadedConfiguration, directory: Path, fits: Sequence[Fit]) -> list[Path]:
    """Write what belongs to the whole run: the configuration used, and for several q a table and a plot."""
    copy = directory / "configuration.yaml"
    write_text(copy, loaded.text)
    files = [copy]
    shown = [fit for fit in fits if fit.result is not None or fit.posterior is not None]
    if len(shown) < 2:
        return files
    results = [fit.result for fit in shown if fit.result is not None]
    posteriors = [fit.posterior for fit in shown] if loaded.sampling is not None else []
    table = directory / "summary.csv"
    write_series(table, results, [fit.folder.name for fit in shown], posteriors)
    files.append(table)
    output = loaded.configuration.output
    # A fit that a posterior only starts from is no result beside it.
    fitted = results if loaded.method != "cmc" else []
    points = [SummaryPoint(r.q, r.physical["D0"], r.physical_error["D0"]) for r in fitted]
    sampled = [
        SummaryPoint(p.tree.attrs["q"], p.mean["D0"], p.sd["D0"])
        for p in posteriors
        if p is not None and math.isfinite(p.mean["D0"])
    ]
    if output.plots and (points or sampled):
        files += plot_against_q(points, "D0", directory, output.formats, posterior=sampled)
    return files
