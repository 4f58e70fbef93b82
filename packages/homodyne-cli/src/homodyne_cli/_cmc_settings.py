"""From a `Configuration` to the settings of the posterior."""

import dataclasses

from homodyne_cli._config import Configuration
from homodyne_cli._config_bounds import FORMER_NAMES
from homodyne_cli._config_keys import ConfigurationError
from homodyne_cmc import CMCConfig, Prior
from homodyne_model import AnalysisMode
from homodyne_nlsq import NLSQConfig

_SCALING = ("contrast", "offset")


def cmc_config(
    configuration: Configuration, fit: NLSQConfig, method: str
) -> tuple[CMCConfig | None, tuple[str, ...]]:
    """Settings for `homodyne_cmc.fit_mcmc_jax`, and warnings.

    Parameters
    ----------
    configuration : Configuration
        What the file says.
    fit : NLSQConfig
        What it means for the fit.
    method : {"nlsq", "cmc", "both"}
        What the run does; with nlsq there are no settings, but the section is checked.

    Raises
    ------
    ConfigurationError
        If `CMCConfig` refuses a setting, a bound, a prior or a parameter that is held, or there are bounds of single angles.
    """
    section = configuration.optimization.cmc
    known = {spec.name for spec in dataclasses.fields(CMCConfig)}
    settings = {name: value for name, value in vars(section).items() if name in known}
    settings |= {
        "analysis_mode": fit.analysis_mode,
        "shear_kernel": fit.shear_kernel,
        "quadrature": fit.quadrature,
        "fourier_order": section.fourier_order or fit.anti_degeneracy.fourier_order,
        "checkpoint_dir": None,  # known when a posterior is sampled
    }
    try:
        plain = CMCConfig(**settings)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"optimization.cmc.{error}") from None
    if method == "nlsq":
        named = [
            bound.name
            for bound in configuration.parameter_space.bounds
            if bound.lacks_numbers or bound.prior.type != "Uniform"
        ]
        if not named:
            return None, ()
        return None, (
            f"parameter_space.bounds: the priors of {', '.join(named)} have no effect on method nlsq, which takes the "
            "bounds only; cmc and both sample a posterior",
        )
    bounds, priors, sentences = _bounds_and_priors(configuration, fit)
    held = {name: value for name, value in fit.fixed.items() if name.partition("_")[0] not in _SCALING}
    try:
        plain = dataclasses.replace(plain, fixed=held)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"initial_parameters: {error}") from None
    if idle := [name for name in priors if name in held]:
        sentences.append(
            f"parameter_space.bounds: {', '.join(idle)} held fixed, so that priors have no effect there"
        )
        priors = {name: prior for name, prior in priors.items() if name not in held}
    try:
        wanted = dataclasses.replace(plain, bounds=bounds, priors=priors)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"parameter_space.{error}") from None
    return wanted, (*sentences, *_only_of_the_fit(configuration, fit))


def without_fit(settings: CMCConfig, fit: NLSQConfig) -> CMCConfig:
    """Settings where no fit says how contrast and offset vary with the angle: a mode that is named for it holds."""
    if settings.per_angle_mode is not None:
        return settings
    mode = fit.anti_degeneracy.per_angle_mode if fit.per_angle_scaling else "constant"
    return settings if mode == "auto" else dataclasses.replace(settings, per_angle_mode=mode)


def _bounds_and_priors(
    configuration: Configuration, fit: NLSQConfig
) -> tuple[dict[str, tuple[float, float]], dict[str, Prior], list[str]]:
    """Bounds, priors, and a sentence about those that say nothing. Names are known to be right."""
    names = (*AnalysisMode.parse(fit.analysis_mode).physical_names, *_SCALING)
    bounds, priors, vague = {}, {}, []
    for bound in configuration.parameter_space.bounds:
        name = FORMER_NAMES.get(bound.name, bound.name)
        if name.rpartition("_")[0] in _SCALING:
            raise ConfigurationError(
                f"parameter_space.bounds: {name} is of one angle, and a posterior has the same bounds and prior for all; "
                f"expected {name.rpartition('_')[0]}"
            )
        if name not in names:
            continue  # of the other analysis mode
        bounds[name] = bound.interval
        if bound.lacks_numbers:
            vague.append(name)
        elif bound.prior.type != "Uniform":
            priors[name] = bound.prior
    if not vague:
        return bounds, priors, []
    return bounds, priors, [
        f"parameter_space.bounds: the normal priors of {', '.join(vague)} have no prior_mu and prior_sigma: uniform "
        "between the bounds"
    ]  # fmt: skip


def _only_of_the_fit(configuration: Configuration, fit: NLSQConfig) -> list[str]:
    """What the fit takes into account and a posterior does not."""
    found = []
    if fit.loss != "linear":
        found.append(f"loss {fit.loss}")
    system = fit.anti_degeneracy
    if fit.analysis_mode == AnalysisMode.LAMINAR_FLOW and system.enable:
        found += [
            f"anti_degeneracy.{name}"
            for name in ("regularization", "shear_weighting")
            if getattr(system, name).enable
        ]
    sentences = []
    if found:
        sentences.append(
            f"optimization.nlsq: {' and '.join(found)} act on the fit only; the posterior takes the noise for normal, and "
            "all points alike"
        )
    held = [name for name in fit.fixed if name.partition("_")[0] in _SCALING]
    if held:
        sentences.append(
            f"initial_parameters: {', '.join(held)} held in the fit is free in the posterior; a narrow prior holds it there"
        )
    return sentences
