"""From where a fit ended to `OptimizationResult`: covariance, curves, verdict and sentences."""

from dataclasses import asdict, replace
from importlib.metadata import version

import jax
import numpy as np

from homodyne_degeneracy import AntiDegeneracyController, identifiability
from homodyne_memory import NLSQStrategy, peak_memory_gb
from homodyne_model import ParameterLayout, ScalingState
from homodyne_nlsq._attempts import Outcome
from homodyne_nlsq._config import NLSQConfig
from homodyne_nlsq._curves import transport_curves
from homodyne_nlsq._error_bars import error_bars, noise_of
from homodyne_nlsq._flat_rates import with_free_shapes
from homodyne_nlsq._problem import Problem
from homodyne_nlsq._result import DeviceInfo, OptimizationResult
from homodyne_nlsq._search_record import GlobalSearch
from homodyne_nlsq._solve import Evaluation, Solution, rounding_of
from homodyne_nlsq._verdict import decay_is_seen, quality_of, sentences

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


def result_of(
    problem: Problem,
    controller: AntiDegeneracyController,
    solution: Solution,
    outcome: Outcome,
    config: NLSQConfig,
    fixed,
    dof: int,
    adapter: str,
    search: GlobalSearch | None,
) -> OptimizationResult:
    """The result of a fit that ended somewhere.

    Parameters
    ----------
    problem : Problem
        With everything that follows its solution as it was last.
    controller : AntiDegeneracyController
        With the record of what the layers did.
    solution : Solution
        Its solution.
    outcome : Outcome
        The attempts that led there.
    config : NLSQConfig
    fixed : (n_physical,) bool
    dof : int
    adapter : str
        What solved it.
    search : GlobalSearch or None
        What was searched before.
    """
    data = problem.maps.data
    layout = ParameterLayout(config.analysis_mode, data.n_phi)
    fit, physical = solution.at.fit, solution.at.physical.copy()
    free = ~fixed & (solution.held == 0)
    noise = noise_of(problem, solution.at, dof)
    plain = replace(problem, penalty=None).compress_at(noise.gram, fit)
    reduced = plain.cost / dof
    bars = error_bars(problem, solution.at, free, noise)
    # Residuals that vanish leave no scatter to measure: what is known of the errors then is the given σ, if anything.
    vanish = np.isnan(noise.variance) or plain.cost < rounding_of(solution.at)
    covariance_type = "hessian" if vanish else config.covariance_type
    chosen = bars.robust if covariance_type == "robust" else bars.hessian
    curves = transport_curves(problem.model, physical, chosen.determined, plain.hessian, free)
    if layout.n_physical == 7 and "phi0" not in config.bounds and not fixed[6]:
        physical[6] = (physical[6] + 90) % 180 - 90
    parameters = np.concatenate([fit.contrast, fit.offset, physical])
    states = np.concatenate([fit.state.T.ravel(), np.where(fixed, ScalingState.FIXED, solution.held)])
    at_bound = tuple({ScalingState.LOWER: "lower", ScalingState.UPPER: "upper"}.get(s, "") for s in states)
    report = identifiability(
        plain.hessian,
        layout.physical_names,
        physical,
        free,
        1.0 if np.isnan(noise.variance) else noise.variance,
        covariance=None if np.isnan(noise.variance) else _of_physical(chosen, layout.n_physical),
        t_ref=problem.model.t_middle,
        at_bound=~fixed & (solution.held != 0),
    )
    curves = with_free_shapes(curves, report.flat, problem, solution.at, fixed, free, dof, covariance_type)
    seen = is_seen(problem, solution.at, dof)
    gained = fit.cost < solution.first.fit.cost or problem.renews
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
        covariance_type=covariance_type,
        leverage=bars.leverage,
    )
    if vanish:
        given = data.sigma_source == "given"
        said = (
            "the error bars are those that the given σ asks for"
            if given
            else "no error bars can be given without σ"
        )
        warnings.append(f"The residuals vanish (noise-free data?): {said}.")
    message = f"{solution.message[0].upper()}{solution.message[1:]}."
    if not solution.converged and solution.interruption is None and np.isfinite(solution.distance):
        message += f" The optimum is estimated to be {solution.distance:.2g} standard errors away; try other start values or more iterations."
    quoted = chosen.quoted()
    undecided = () if search is None else search.undecided
    return OptimizationResult(
        parameters=parameters,
        uncertainties=np.sqrt(np.diag(quoted)),
        covariance=quoted,
        covariances={"robust": bars.robust.quoted(), "hessian": bars.hessian.quoted()},
        at_bound=at_bound,
        fixed=states == ScalingState.FIXED,
        chi_squared=plain.cost,
        reduced_chi_squared=reduced,
        robust_cost=noise.robust_cost,
        dof=dof,
        success=status == "converged",
        message=message,
        iterations=solution.passes,
        convergence_status=status,
        # Outliers, which a robust loss is for, make χ² large.
        quality_flag=quality_of(
            status,
            data.sigma_source if problem.loss == "linear" else "estimated",
            reduced,
            at_bound=any(at_bound),
            seen=seen,
            determined=not report.undetermined and not undecided,
        ),
        distance=solution.distance,
        diffusion=curves[0],
        shear=curves[1],
        hessian=plain.hessian,
        identifiability=report,
        cluster_window=bars.window * problem.model.dt,
        warnings=(*outcome.sentences, *undecided, *controller.warnings, *warnings),
        covariance_type=covariance_type,
        search=search,
        **_described(problem, controller, outcome, config, adapter),
    )


def failed_result(
    problem: Problem,
    controller: AntiDegeneracyController,
    outcome: Outcome,
    config: NLSQConfig,
    fixed,
    dof: int,
    adapter: str,
    search: GlobalSearch | None,
) -> OptimizationResult:
    """The result of a fit that could not begin: start values, no numbers, and the reasons."""
    layout = ParameterLayout(config.analysis_mode, problem.model.n_phi)
    unknown = np.full(layout.size, np.nan)
    parameters = unknown.copy()
    parameters[-layout.n_physical :] = outcome.start
    n_physical = layout.n_physical
    curves = transport_curves(
        problem.model, outcome.start, np.full((layout.size,) * 2, np.nan), np.zeros((n_physical,) * 2), ~fixed
    )
    return OptimizationResult(
        parameters=parameters,
        uncertainties=unknown,
        covariance=np.full((layout.size,) * 2, np.nan),
        covariances={name: np.full((layout.size,) * 2, np.nan) for name in ("robust", "hessian")},
        at_bound=("",) * layout.size,
        fixed=np.concatenate([np.zeros(layout.size - n_physical, dtype=bool), fixed]),
        chi_squared=np.nan,
        reduced_chi_squared=np.nan,
        robust_cost=None,
        dof=dof,
        success=False,
        message="Nothing was fitted: the model is not finite at any start values that were tried. The values shown are "
        "the start values; check q, L, the times and the bounds.",
        iterations=0,
        convergence_status="failed",
        quality_flag="poor",
        distance=np.inf,
        diffusion=curves[0],
        shear=curves[1],
        hessian=np.full((n_physical,) * 2, np.nan),
        identifiability=None,
        cluster_window=np.full(problem.model.n_phi, np.nan),
        warnings=outcome.sentences,
        covariance_type=config.covariance_type,
        search=search,
        **_described(problem, controller, outcome, config, adapter),
    )


def _described(
    problem: Problem,
    controller: AntiDegeneracyController,
    outcome: Outcome,
    config: NLSQConfig,
    adapter: str,
) -> dict:
    """What a result says of the data, the choices and the process, whatever the outcome."""
    data, layout = problem.maps.data, problem.model.layout
    return {
        "names": layout.names,
        "units": layout.units,
        "n_points": data.n_points,
        "sigma_source": data.sigma_source,
        "execution_time": np.nan,
        "device_info": DeviceInfo(
            adapter,
            False,
            _STRATEGY_NAMES[problem.maps.strategy],
            outcome.actions,
            peak_memory_gb(),
            problem.maps.n_chunks,
            jax.default_backend(),
        ),
        "analysis_mode": config.analysis_mode,
        "shear_kernel": config.shear_kernel,
        "quadrature": config.quadrature,
        "per_angle_mode": problem.basis.mode,
        "n_scaling": problem.n_scaling,
        "anti_degeneracy": tuple(controller.sentences),
        "profiles": (),
        "loss": config.loss,
        "time_origin": data.time_origin,
        "q": data.q,
        "L": data.L,
        "phi": data.phi,
        "t": data.t,
        "initial": dict(zip(layout.physical_names, outcome.start.tolist(), strict=True)),
        "settings": {**asdict(config), "anti_degeneracy": config.anti_degeneracy.to_mapping()},
        "versions": {name: version(name) for name in _PACKAGES},
        "provenance": {**asdict(data.provenance), "symmetric": data.symmetric, "dropped": data.n_dropped},
    }


def _of_physical(covariance, n_physical: int) -> np.ndarray:
    return covariance.determined[-n_physical:, -n_physical:]


def is_seen(problem: Problem, at: Evaluation, dof: int) -> bool:
    """Whether the decay improves χ² over a constant for each angle (or for all) by more than chance."""
    constant = problem.basis.mode == "constant"
    gram = at.gram.sum(axis=0, keepdims=True) if constant else at.gram
    flat_cost = float((gram[:, -1, -1] - gram[:, -2, -1] ** 2 / gram[:, -2, -2]).sum())
    gained = flat_cost - at.fit.cost > rounding_of(at)
    return gained and decay_is_seen(at.fit.cost, flat_cost, dof, len(gram) + problem.model.n_physical)
