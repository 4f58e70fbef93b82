"""`fit_nlsq_jax`: from two-time data to transport parameters."""

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np

from homodyne_data import TwoTimeData, TwoTimeStream, from_mapping, from_points
from homodyne_degeneracy import identifiability
from homodyne_memory import NLSQStrategy, peak_memory_gb, select_nlsq_strategy
from homodyne_model import AnalysisMode, ParameterLayout, ScalingState
from homodyne_nlsq._checkpoint import RememberedPasses
from homodyne_nlsq._coarse import CoarseProblem
from homodyne_nlsq._config import NLSQConfig
from homodyne_nlsq._curves import transport_curves
from homodyne_nlsq._held import CHUNK_POINTS, HeldMaps, RowChunks, StreamedMaps, WholeMaps, with_sigma
from homodyne_nlsq._problem import Problem
from homodyne_nlsq._result import DeviceInfo, OptimizationResult
from homodyne_nlsq._solve import Evaluation, Progress, rounding_of, solve
from homodyne_nlsq._start import start_from_data, start_from_given
from homodyne_nlsq._verdict import decay_is_seen, quality_of, sentences
from homodyne_nlsq.errors import FitInputError

# What `device_info.strategy` calls a strategy.
_STRATEGY_NAMES = {
    NLSQStrategy.STANDARD: "standard",
    NLSQStrategy.OUT_OF_CORE: "out_of_core",
    NLSQStrategy.HYBRID_STREAMING: "hybrid",
}
_PACKAGES = (
    "homodyne-nlsq",
    "homodyne-model",
    "homodyne-data",
    "homodyne-degeneracy",
    "homodyne-memory",
    "jax",
    "scipy",
    "numpy",
)


def fit_nlsq_jax(
    data,
    config: NLSQConfig | Mapping | None = None,
    *,
    t1=None,
    t2=None,
    phi=None,
    q=None,
    L=None,
    sigma=None,
    dt=None,
    analysis_mode: str | None = None,
    initial_params: Mapping[str, float] | None = None,
    progress: Progress | None = None,
) -> OptimizationResult:
    """Fit the scattering model to two-time maps by weighted least squares.

    Contrast and offset of every angle are eliminated exactly; SciPy's trust region fits the physical parameters.

    Parameters
    ----------
    data : TwoTimeData, TwoTimeStream, mapping, or array_like (n_points,)
        Two-time maps in memory or in a file that is read in every pass; or a mapping with the keys of the ``.npz`` layout or the historical dictionary; or the C2 values of pooled
        points, which need ``t1``, ``t2``, ``phi`` and ``q``.
    config : NLSQConfig or mapping, optional
        Settings; a mapping has the fields of `NLSQConfig`.
    t1, t2 : array_like (n_points,), optional
        Times of pooled points [s], on one uniform grid.
    phi : array_like (n_points,), optional
        Angles of pooled points [deg].
    q : float, optional
        Wavevector of pooled points [1/Å].
    L : float, optional
        Stator-rotor gap [Å] of pooled points.
    sigma : float or array_like (n_points,), optional
        Standard deviation of pooled points.
    dt : float, optional
        Frame spacing of pooled points [s]; found from the times if left out.
    analysis_mode : str, optional
        Replaces that of ``config``.
    initial_params : mapping of name to value, optional
        Start values of physical parameters; they replace those of ``config``. What neither gives comes from the data.
    progress : callable, optional
        Called as ``progress(stage, passes, chi_squared, message)`` after every pass over the data.

    Returns
    -------
    OptimizationResult
        Also when the fit did not converge: it says so.

    Raises
    ------
    FitInputError, DataError, ModelError, ValueError, TypeError
        If data or settings cannot be fitted, before anything is computed; the message names what and what was expected.

    Notes
    -----
    He et al., PNAS 121 (2024), doi:10.1073/pnas.2401162121; PNAS 122 (2025), doi:10.1073/pnas.2514216122. Elimination of the
    scaling: Golub & Pereyra (1973), see `homodyne_model.compress`. JAX computes in 64 bits inside the call and is left as it was.

    Examples
    --------
    >>> import numpy as np
    >>> from homodyne_data import TwoTimeData, simulate_two_time
    >>> t = 0.1 * np.arange(40)
    >>> c2 = 1.0 + 0.3 * np.exp(-((0.01) ** 2) * 5e3 * np.abs(t[:, None] - t))[None]
    >>> data = TwoTimeData(simulate_two_time(c2, 0.01, seed=1), phi=[0.0], t=t, q=0.01, sigma=0.01)
    >>> result = fit_nlsq_jax(data, {"fixed": {"alpha": 0.0, "D_offset": 0.0}})
    >>> result.convergence_status, abs(result.physical["D0"] - 5e3) < 4 * result.physical_error["D0"]
    ('converged', True)
    """
    started = time.perf_counter()
    pooled = {"t1": t1, "t2": t2, "phi": phi, "q": q, "L": L, "sigma": sigma, "dt": dt}
    data = _as_two_time_data(data, pooled)
    config = _as_config(config, analysis_mode, initial_params)
    _check_geometry(data, config)
    given, fixed, bounds = _start_and_box(config)
    with jax.enable_x64(True):
        passes = _remembered(data, config)
        maps = _hold(data, config, int((~fixed).sum()), passes)
        data = maps.data
        problem = Problem.of(maps, config)
        n_scaling = _n_fitted_scaling(problem)
        dof = data.n_points - n_scaling - int((~fixed).sum())
        if dof < 1:
            raise FitInputError(
                f"data hold {data.n_points} points that count; expected more than the {data.n_points - dof} fitted parameters."
            )
        start, solution, recovery = _solve_with_recovery(problem, config, given, fixed, bounds, dof, progress)
        result = _result(data, config, problem, solution, start, fixed, dof, recovery, started)
    if passes is not None and result.success:
        passes.forget()
    return result


def _hold(
    data: TwoTimeData | TwoTimeStream, config: NLSQConfig, n_free: int, passes: RememberedPasses | None
) -> HeldMaps:
    """The data with σ, held as their size and the memory ask for."""
    if isinstance(data, TwoTimeStream):
        return StreamedMaps(data, passes)
    data = with_sigma(data)
    if np.ndim(data.sigma) < 2:
        _check_noise(np.atleast_1d(data.sigma))
    strategy = select_nlsq_strategy(
        data.n_points, max(n_free, 1), memory_fraction=config.memory_fraction
    ).strategy
    if strategy is NLSQStrategy.STANDARD and config.chunk_points is None:
        return WholeMaps(data)
    return RowChunks(data, config.chunk_points or CHUNK_POINTS, strategy)


def _check_noise(sigma: np.ndarray) -> None:
    """Refuse a σ whose square is out of the range of numbers; C2 is of order 1."""
    far = (sigma < 1e-12) | (sigma > 1e12)
    if far.any():
        raise FitInputError(f"sigma is {sigma[far][0]:g}; expected the noise of C2, which is of order 1.")


def _remembered(data: TwoTimeData | TwoTimeStream, config: NLSQConfig) -> RememberedPasses | None:
    """Passes of an earlier, interrupted fit of data in a file; a new folder of them where there was none."""
    if config.checkpoint_dir is None:
        return None
    if not isinstance(data, TwoTimeStream):
        raise FitInputError(
            f"checkpoint_dir is {config.checkpoint_dir!r}, but the data are in memory; expected maps of "
            "homodyne_data.open_xpcs, which alone are fitted long enough to be interrupted."
        )
    model = (config.analysis_mode, config.shear_kernel, config.quadrature, version("homodyne-model"))
    return RememberedPasses(Path(config.checkpoint_dir), "|".join((data.identity(), *model)))


def _as_two_time_data(data, pooled: Mapping) -> TwoTimeData | TwoTimeStream:
    named = [name for name, value in pooled.items() if value is not None]
    if isinstance(data, TwoTimeData | TwoTimeStream | Mapping):
        if named:
            raise FitInputError(
                f"{', '.join(named)} belong to pooled points, but data is a {type(data).__name__} that holds them."
            )
        return from_mapping(data) if isinstance(data, Mapping) else data
    missing = [name for name in ("t1", "t2", "phi", "q") if pooled[name] is None]
    if missing:
        raise FitInputError(
            f"data is a {type(data).__name__}; expected a TwoTimeData, a mapping, or pooled points with t1, t2, phi and q "
            f"({', '.join(missing)} missing)."
        )
    return from_points(data, **pooled)


def _as_config(config, analysis_mode, initial_params) -> NLSQConfig:
    if config is None:
        config = {}
    if isinstance(config, Mapping):
        config = dict(config)
        if analysis_mode is not None:
            config["analysis_mode"] = analysis_mode
        config = NLSQConfig.from_mapping(config)
    elif not isinstance(config, NLSQConfig):
        raise TypeError(
            f"config is a {type(config).__name__}; expected an NLSQConfig or a mapping of its fields."
        )
    elif analysis_mode is not None:
        config = replace(config, analysis_mode=analysis_mode)
    if initial_params is not None:
        if not isinstance(initial_params, Mapping):
            raise TypeError(
                f"initial_params is a {type(initial_params).__name__}; expected a mapping of parameter name to start value."
            )
        config = replace(config, initial={**config.initial, **initial_params})
    return config


def _check_geometry(data: TwoTimeData, config: NLSQConfig) -> None:
    if config.analysis_mode == AnalysisMode.LAMINAR_FLOW:
        if data.L is None:
            raise FitInputError(
                "data have no L: laminar_flow needs the stator-rotor gap in Å (200 µm is 2e6)."
            )
        if data.n_phi < 2 and "phi0" not in config.fixed:
            raise FitInputError(
                "data hold one angle: the flow direction phi0 needs several, or fixed['phi0']."
            )


def _start_and_box(config: NLSQConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Known start values (NaN where the data shall give them), which are fixed, and the bounds."""
    names = AnalysisMode(config.analysis_mode).physical_names
    bounds = config.physical_bounds()
    given, fixed = np.full(len(names), np.nan), np.zeros(len(names), dtype=bool)
    for k, name in enumerate(names):
        if name in config.initial:
            given[k] = config.initial[name]
        if name in config.fixed:
            fixed[k] = True
            if config.fixed[name] is not None:
                given[k] = config.fixed[name]
            if not bounds[k, 0] <= given[k] <= bounds[k, 1]:
                raise FitInputError(
                    f"fixed[{name!r}] is {given[k]:g}; expected a value within its bounds, {bounds[k, 0]:g} to "
                    f"{bounds[k, 1]:g} (bounds[{name!r}] widens them)."
                )
        elif name in config.initial and not bounds[k, 0] <= given[k] <= bounds[k, 1]:
            raise FitInputError(
                f"initial[{name!r}] is {given[k]:g}; expected a value within its bounds, {bounds[k, 0]:g} to {bounds[k, 1]:g}."
            )
    return given, fixed, bounds


def _n_fitted_scaling(problem: Problem) -> int:
    """Contrasts and offsets that are not fixed."""
    box = problem.scaling.arrays(problem.model.n_phi)
    free = box[..., 0] < box[..., 1]
    return int(free[0].sum() if problem.common_scaling else free.sum())


def _solve_with_recovery(problem, config, given, fixed, bounds, dof, progress):
    """Start values, solution, and what was tried beyond the given start.

    Where the given start values lead nowhere or into a bound, those of the data are tried too, and the better ones count.
    """
    coarse = CoarseProblem.of(problem)

    def descend(*starts):
        return solve(
            problem,
            starts,
            bounds,
            fixed,
            n_free_points=dof,
            max_passes=config.max_iterations,
            ftol=config.tolerance,
            xtol=config.xtol,
            gtol=config.gtol,
            progress=progress,
        )

    def from_data(known):
        return start_from_data(coarse, known, fixed, bounds, seed=config.seed, progress=progress)

    nothing_known = np.where(fixed, given, np.nan)
    if not np.isfinite(given).all():
        begin = from_data(given)
        first = descend(begin.physical)
        given_matter = np.isfinite(given[~fixed]).any()
    else:
        begin = start_from_given(coarse, given, fixed, bounds, progress=progress)
        given_matter = not fixed.all()
        if not begin.inside and given_matter:
            own = from_data(nothing_known)
            if own.cost < begin.cost:
                return own.physical, descend(own.physical), ("data_start",)
        first = descend(given, begin.physical)
    reached = first.converged and not first.held.any() and _is_seen(problem, first.at, dof)
    start = np.where(np.isfinite(given), given, begin.physical)
    if reached or not given_matter:
        return start, first, ()
    own = from_data(nothing_known)
    second = descend(own.physical)
    better = second.at.fit.cost < first.at.fit.cost
    return (own.physical, second, ("data_start",)) if better else (start, first, ("data_start_no_better",))


def _result(data, config, problem, solution, start, fixed, dof, recovery, started) -> OptimizationResult:
    layout = ParameterLayout(config.analysis_mode, data.n_phi)
    fit, physical = solution.at.fit, solution.at.physical.copy()
    free = ~fixed & (solution.held == 0)
    reduced = fit.cost / dof
    noise = 1.0 if data.sigma_source == "given" else reduced
    covariance = noise * problem.covariance(solution.at.gram, fit, free)
    if noise == 0:
        covariance[:] = np.nan  # residuals that vanish say nothing about errors
    curves = transport_curves(problem.model, physical, fit.hessian, free, noise)
    if layout.n_physical == 7 and "phi0" not in config.bounds and not fixed[6]:
        physical[6] = (physical[6] + 90) % 180 - 90
    parameters = np.concatenate([fit.contrast, fit.offset, physical])
    states = np.concatenate([fit.state.T.ravel(), np.where(fixed, ScalingState.FIXED, solution.held)])
    at_bound = tuple({ScalingState.LOWER: "lower", ScalingState.UPPER: "upper"}.get(s, "") for s in states)
    report = identifiability(fit.hessian, layout.physical_names, physical, free, noise)
    seen = _is_seen(problem, solution.at, dof)
    gained = fit.cost < solution.start_cost
    status = "converged" if solution.converged else "partial" if gained else "failed"
    warnings = sentences(
        data=data,
        names=layout.names,
        values=parameters,
        at_bound=at_bound,
        states=fit.state,
        reduced=reduced,
        dof=dof,
        seen=seen,
        curves=(("D(t)", curves[0]), ("shear rate", curves[1])),
        report=report,
        covariance_assumes_independence=config.covariance_type == "hessian",
    )
    if noise == 0:
        warnings.append("The residuals vanish (noise-free data?): no error bars can be given without σ.")
    if recovery == ("data_start",):
        warnings.insert(
            0,
            "The given start values did not lead to an optimum inside the bounds; start values from the data led to a "
            "better one.",
        )
    message = f"{solution.message[0].upper()}{solution.message[1:]}."
    if not solution.converged and np.isfinite(solution.distance):
        message += f" The optimum is estimated to be {solution.distance:.2g} standard errors away; try other start values or more iterations."
    return OptimizationResult(
        parameters=parameters,
        names=layout.names,
        units=layout.units,
        uncertainties=np.sqrt(np.diag(covariance)),
        covariance=covariance,
        at_bound=at_bound,
        fixed=states == ScalingState.FIXED,
        chi_squared=fit.cost,
        reduced_chi_squared=reduced,
        n_points=data.n_points,
        dof=dof,
        sigma_source=data.sigma_source,
        success=status == "converged",
        message=message,
        iterations=solution.passes,
        execution_time=time.perf_counter() - started,
        convergence_status=status,
        quality_flag=quality_of(
            status,
            data.sigma_source,
            reduced,
            at_bound=any(at_bound),
            seen=seen,
            determined=not report.undetermined,
        ),
        distance=solution.distance,
        device_info=DeviceInfo(
            "structured",
            False,
            _STRATEGY_NAMES[problem.maps.strategy],
            recovery,
            peak_memory_gb(),
            problem.maps.n_chunks,
            jax.default_backend(),
        ),
        analysis_mode=config.analysis_mode,
        shear_kernel=config.shear_kernel,
        quadrature=config.quadrature,
        per_angle_mode=config.per_angle_mode,
        covariance_type=config.covariance_type,
        time_origin=data.time_origin,
        q=data.q,
        L=data.L,
        phi=data.phi,
        t=data.t,
        diffusion=curves[0],
        shear=curves[1],
        hessian=fit.hessian,
        warnings=tuple(warnings),
        initial=dict(zip(layout.physical_names, start.tolist(), strict=True)),
        settings=asdict(config),
        versions={name: version(name) for name in _PACKAGES},
        provenance={**asdict(data.provenance), "symmetric": data.symmetric, "dropped": data.n_dropped},
    )


def _is_seen(problem: Problem, at: Evaluation, dof: int) -> bool:
    """Whether the decay improves χ² over a constant for each angle (or for all) by more than chance."""
    gram = at.gram.sum(axis=0, keepdims=True) if problem.common_scaling else at.gram
    flat_cost = float((gram[:, -1, -1] - gram[:, -2, -1] ** 2 / gram[:, -2, -2]).sum())
    gained = flat_cost - at.fit.cost > rounding_of(at)
    return gained and decay_is_seen(at.fit.cost, flat_cost, dof, len(gram) + problem.model.n_physical)
