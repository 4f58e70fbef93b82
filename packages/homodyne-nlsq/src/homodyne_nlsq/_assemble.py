"""From where a fit ended to `OptimizationResult`: covariance, curves, verdict and sentences."""

from dataclasses import asdict, replace
from importlib.metadata import version

import jax
import numpy as np

from homodyne_degeneracy import identifiability
from homodyne_memory import NLSQStrategy, peak_memory_gb
from homodyne_model import (
    JointCovariance,
    ParameterLayout,
    ScalingState,
    joint_covariance,
    joint_information,
    with_angle_weights,
)
from homodyne_nlsq._attempts import Outcome
from homodyne_nlsq._config import NLSQConfig
from homodyne_nlsq._curves import transport_curves
from homodyne_nlsq._loss import LossSums
from homodyne_nlsq._problem import Problem
from homodyne_nlsq._result import DeviceInfo, OptimizationResult
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
    problem: Problem, solution: Solution, outcome: Outcome, config: NLSQConfig, fixed, dof: int, adapter: str
) -> OptimizationResult:
    """The result of a fit that ended somewhere.

    Parameters
    ----------
    problem : Problem
        With the last weights of a robust loss.
    solution : Solution
        Its solution.
    outcome : Outcome
        The attempts that led there.
    config : NLSQConfig
    fixed : (n_physical,) bool
    dof : int
    adapter : str
        What solved it.
    """
    data = problem.maps.data
    layout = ParameterLayout(config.analysis_mode, data.n_phi)
    fit, physical = solution.at.fit, solution.at.physical.copy()
    free = ~fixed & (solution.held == 0)
    gram, robust = _without_weights(problem, solution.at)
    plain = problem.compress_at(gram, fit)
    reduced = plain.cost / dof
    if robust is not None:
        # Huber's factor: what the loss costs on noise of this shape.
        noise = (robust.psi_squared.sum() / dof) / (robust.slope.sum() / data.n_points) ** 2
    else:
        noise = 1.0 if data.sigma_source == "given" else reduced
    if noise == 0:
        noise = np.nan  # residuals that vanish say nothing about errors
    covariance = _covariance(problem, gram, fit, free).scaled(noise)
    curves = transport_curves(problem.model, physical, covariance.determined, plain.hessian, free)
    quoted = covariance.quoted()
    if layout.n_physical == 7 and "phi0" not in config.bounds and not fixed[6]:
        physical[6] = (physical[6] + 90) % 180 - 90
    parameters = np.concatenate([fit.contrast, fit.offset, physical])
    states = np.concatenate([fit.state.T.ravel(), np.where(fixed, ScalingState.FIXED, solution.held)])
    at_bound = tuple({ScalingState.LOWER: "lower", ScalingState.UPPER: "upper"}.get(s, "") for s in states)
    report = identifiability(
        plain.hessian, layout.physical_names, physical, free, 1.0 if np.isnan(noise) else noise
    )
    seen = is_seen(problem, solution.at, dof)
    gained = fit.cost < solution.first.fit.cost or problem.reweighting is not None
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
    if np.isnan(noise):
        warnings.append("The residuals vanish (noise-free data?): no error bars can be given without σ.")
    message = f"{solution.message[0].upper()}{solution.message[1:]}."
    if not solution.converged and np.isfinite(solution.distance):
        message += f" The optimum is estimated to be {solution.distance:.2g} standard errors away; try other start values or more iterations."
    return OptimizationResult(
        parameters=parameters,
        uncertainties=np.sqrt(np.diag(quoted)),
        covariance=quoted,
        at_bound=at_bound,
        fixed=states == ScalingState.FIXED,
        chi_squared=plain.cost,
        reduced_chi_squared=reduced,
        robust_cost=None if robust is None else float(robust.cost @ problem.angle_weight),
        dof=dof,
        success=status == "converged",
        message=message,
        iterations=solution.passes,
        convergence_status=status,
        # Outliers, which a robust loss is for, make χ² large.
        quality_flag=quality_of(
            status,
            data.sigma_source if robust is None else "estimated",
            reduced,
            at_bound=any(at_bound),
            seen=seen,
            determined=not report.undetermined,
        ),
        distance=solution.distance,
        diffusion=curves[0],
        shear=curves[1],
        hessian=plain.hessian,
        warnings=(*outcome.sentences, *warnings),
        **_described(problem, outcome, config, adapter),
    )


def failed_result(
    problem: Problem, outcome: Outcome, config: NLSQConfig, fixed, dof: int, adapter: str
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
        warnings=outcome.sentences,
        **_described(problem, outcome, config, adapter),
    )


def _described(problem: Problem, outcome: Outcome, config: NLSQConfig, adapter: str) -> dict:
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
        "per_angle_mode": config.per_angle_mode,
        "covariance_type": config.covariance_type,
        "loss": config.loss,
        "time_origin": data.time_origin,
        "q": data.q,
        "L": data.L,
        "phi": data.phi,
        "t": data.t,
        "initial": dict(zip(layout.physical_names, outcome.start.tolist(), strict=True)),
        "settings": asdict(config),
        "versions": {name: version(name) for name in _PACKAGES},
        "provenance": {**asdict(data.provenance), "symmetric": data.symmetric, "dropped": data.n_dropped},
    }


def _without_weights(problem: Problem, at: Evaluation) -> tuple[np.ndarray, LossSums | None]:
    """Gram matrices without the weights of angles and loss, and the sums of the loss where there is one."""
    if problem.reweighting is None:
        return with_angle_weights(at.gram, 1 / problem.angle_weight), None
    reference = replace(
        problem.reweighting, physical=at.physical, contrast=at.fit.contrast, offset=at.fit.offset
    )
    return problem.maps.gram(problem.model, at.physical), problem.maps.loss_sums(problem.model, reference)


def _covariance(problem: Problem, gram, fit, free) -> JointCovariance:
    """Covariance for noise of 1/σ²; where angles weigh otherwise than their noise asks for, V B V instead of V."""
    weight = problem.angle_weight
    weighted = with_angle_weights(gram, weight)
    meat = None
    if (weight != 1).any():
        meat = joint_information(with_angle_weights(gram, weight**2), fit.contrast)
    curved = problem.compress_at(weighted, fit)
    return joint_covariance(weighted, curved, free, common_scaling=problem.common_scaling, meat=meat)


def is_seen(problem: Problem, at: Evaluation, dof: int) -> bool:
    """Whether the decay improves χ² over a constant for each angle (or for all) by more than chance."""
    gram = at.gram.sum(axis=0, keepdims=True) if problem.common_scaling else at.gram
    flat_cost = float((gram[:, -1, -1] - gram[:, -2, -1] ** 2 / gram[:, -2, -2]).sum())
    gained = flat_cost - at.fit.cost > rounding_of(at)
    return gained and decay_is_seen(at.fit.cost, flat_cost, dof, len(gram) + problem.model.n_physical)
