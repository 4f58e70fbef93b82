"""The section ``optimization.cmc`` and the priors of ``parameter_space.bounds``: what they mean for the sampler."""

import dataclasses

import pytest
import yaml

from homodyne_cli._cmc_settings import without_fit
from homodyne_cli._config_cmc import CMC
from homodyne_cli._config_keys import ConfigurationError
from homodyne_cli._config_read import parse_configuration
from homodyne_cli._config_template import template
from homodyne_cmc import CMCConfig, Prior

# Every value differs from the default.
SAMPLING = {
    "method": "nuts",
    "num_shards": 3,
    "num_warmup": 60,
    "num_samples": 70,
    "num_chains": 2,
    "target_accept_prob": 0.9,
    "certificate_draws": 500,
    "robust_draws": True,
    "seed": 5,
    "noise": "global",
    "per_angle_mode": "constant",
    "fourier_order": 3,
    "shard_timeout": 60.0,
}
# Known to the run, not to the settings of the sampler.
OF_THE_RUN = {"n_workers", "checkpoint_dir"}


def load(sections, method="cmc"):
    return parse_configuration(yaml.safe_dump(sections), method=method)


def bounded(*entries, **sections):
    return {"parameter_space": {"bounds": list(entries)}, **sections}


def test_every_setting_of_the_sampler_has_a_key_and_every_key_is_tested():
    settings = {spec.name for spec in dataclasses.fields(CMCConfig)}
    elsewhere = {"analysis_mode", "shear_kernel", "quadrature", "fixed", "bounds", "priors"}
    keys = {spec.name for spec in dataclasses.fields(CMC)}
    assert settings - elsewhere == keys - {"n_workers"}
    assert keys == set(SAMPLING) | OF_THE_RUN


@pytest.mark.parametrize("name", SAMPLING)
def test_a_key_reaches_the_sampler_and_changes_nothing_else(name):
    section = {name: SAMPLING[name]}
    expected = CMCConfig(**section)
    assert expected != CMCConfig()
    assert load({"optimization": {"cmc": section}}).sampling == expected


def test_the_defaults_are_the_samplers():
    assert load({"noise": {"sigma": 0.1}}).sampling == CMCConfig()
    section = yaml.safe_load(template())["optimization"]["cmc"]
    for name, value in CMCConfig().to_mapping().items():
        if name in section and name != "fourier_order":
            assert section[name] == value
    assert load({"optimization": {"cmc": {"per_angle_mode": "auto"}}}).sampling == CMCConfig()


def test_model_and_order_are_those_of_the_fit():
    sections = {"analysis_mode": "laminar_flow", "shear_kernel": "homodyne2", "quadrature": "exact"}
    sections["optimization"] = {"nlsq": {"anti_degeneracy": {"fourier_order": 4}}}
    sampling = load(sections).sampling
    assert (sampling.shear_kernel, sampling.quadrature) == ("homodyne2", "exact")
    assert (sampling.analysis_mode, sampling.fourier_order) == ("laminar_flow", 4)


@pytest.mark.parametrize(
    "nlsq, cmc, mode",
    [
        ({}, {}, None),
        ({"anti_degeneracy": {"per_angle_mode": "fourier"}}, {}, "fourier"),
        ({"per_angle_scaling": False}, {}, "constant"),
        ({"per_angle_scaling": False}, {"per_angle_mode": "individual"}, "individual"),
    ],
)
def test_without_a_fit_the_scaling_that_is_named_for_it_holds(nlsq, cmc, mode):
    loaded = load({"optimization": {"nlsq": nlsq, "cmc": cmc}})
    assert without_fit(loaded.sampling, loaded.settings).per_angle_mode == mode


# --------------------------------------------------------------------------------------------------- method


@pytest.mark.parametrize(
    "named, flag, method",
    [(None, None, "nlsq"), ("both", None, "both"), ("mcmc", None, "cmc"), ("cmc", "nlsq", "nlsq")],
)
def test_the_flag_goes_before_the_file(named, flag, method):
    sections = {"noise": {"sigma": 0.1}} | ({"optimization": {"method": named}} if named else {})
    loaded = load(sections, method=flag)
    assert loaded.method == method
    assert (loaded.sampling is None) == (method == "nlsq")


# --------------------------------------------------------------------------------------------------- priors


@pytest.mark.parametrize(
    "entry, prior",
    [
        ({"type": "Normal", "prior_mu": 1e4, "prior_sigma": 500}, Prior("Normal", 1e4, 500.0)),
        ({"type": "LogNormal", "prior_mu": 9, "prior_sigma": 0.1}, Prior("LogNormal", 9.0, 0.1)),
        ({"type": "HalfNormal", "prior_sigma": 2e4}, Prior("HalfNormal", sigma=2e4)),
        ({"prior_mu": 1e4, "prior_sigma": 500}, Prior("TruncatedNormal", 1e4, 500.0)),
        ({"type": "Uniform"}, None),
        ({"min": 5.0}, None),
    ],
)
def test_entries_of_bounds_are_priors(entry, prior):
    loaded = load(bounded({"name": "D0", "max": 1e6} | entry))
    assert loaded.sampling.priors == ({} if prior is None else {"D0": prior})
    assert loaded.sampling.bounds == {"D0": (entry.get("min", 1.0), 1e6)}
    assert loaded.settings.bounds == loaded.sampling.bounds
    assert loaded.warnings == ()


def test_names_of_older_files_contrast_and_the_other_mode():
    prior = {"type": "Normal", "prior_mu": 0.3, "prior_sigma": 0.01}
    sections = bounded({"name": "gamma_dot_0", "min": 1e-5} | prior, {"name": "contrast"} | prior)
    laminar = load(sections | {"analysis_mode": "laminar_flow"}).sampling
    assert set(laminar.priors) == {"gamma_dot_t0", "contrast"}
    assert set(load(sections).sampling.priors) == {"contrast"}


def test_normal_priors_without_numbers_are_uniform_with_one_sentence():
    entries = [
        {"name": name, "type": kind} for name, kind in (("D0", "Normal"), ("alpha", "TruncatedNormal"))
    ]
    loaded = load(bounded(*entries))
    assert loaded.sampling.priors == {}
    (sentence,) = loaded.warnings
    assert "the normal priors of D0, alpha have no prior_mu and prior_sigma: uniform" in sentence


def test_with_least_squares_alone_one_sentence_says_that_priors_do_nothing():
    entries = [
        {"name": "D0", "type": "TruncatedNormal"},
        {"name": "alpha", "type": "Normal", "prior_mu": 0.0, "prior_sigma": 1.0},
        {"name": "D_offset", "type": "Uniform"},
    ]
    loaded = load(bounded(*entries), method="nlsq")
    (sentence,) = loaded.warnings
    assert "the priors of D0, alpha have no effect on method nlsq" in sentence
    assert loaded.sampling is None


def test_what_the_fit_holds_is_held_and_needs_no_prior():
    normal = {"type": "Normal", "prior_mu": 0.0, "prior_sigma": 1.0}
    sections = bounded({"name": "alpha"} | normal, {"name": "D_offset"} | normal)
    start = {"values": [2e4, -0.4, 10.0], "active_parameters": ["D0", "D_offset"]}
    loaded = load(sections | {"initial_parameters": start})
    assert loaded.sampling.fixed == {"alpha": -0.4}
    assert set(loaded.sampling.priors) == {"D_offset"}
    (sentence,) = loaded.warnings
    assert "alpha held fixed, so that priors have no effect there" in sentence


def test_what_acts_on_the_fit_only_is_told():
    sections = {
        "analysis_mode": "laminar_flow",
        "initial_parameters": {"fixed_parameters": {"offset": 1.0}},
        "optimization": {"nlsq": {"loss": "huber", "anti_degeneracy": {"shear_weighting": {"enable": True}}}},
    }
    assert load(sections, method="nlsq").warnings == ()
    only, held = load(sections).warnings
    assert "loss huber and anti_degeneracy.shear_weighting act on the fit only" in only
    assert "offset held in the fit is free in the posterior" in held


# --------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    "text, where, what",
    [
        (
            "optimization:\n  cmc:\n    num_sample: 3",
            "line 3: optimization.cmc",
            "did you mean 'num_samples'?",
        ),
        ("optimization:\n  cmc:\n    num_warmup: 5", "line 3: optimization.cmc.num_warmup", "at least 10"),
        ("optimization:\n  cmc:\n    method: gibbs", "line 3: optimization.cmc.method", "cmc, nuts, laplace"),
        ("optimization:\n  cmc:\n    n_workers: 0", "line 3: optimization.cmc.n_workers", "at least 1"),
        (
            "optimization:\n  cmc:\n    shard_timeout: -1",
            "line 3: optimization.cmc.shard_timeout",
            "not above 0",
        ),
        (
            "optimization: {cmc: {method: nuts, num_shards: 2}}",
            "line 1: optimization.cmc.num_shards",
            "expected method 'cmc'",
        ),
        ("optimization: {cmc: {fourier: 2}}", "optimization.cmc", "did you mean 'fourier_order'?"),
        (
            "parameter_space:\n  bounds:\n    - {name: alpha}\n    - {name: D0, type: Gamma}",
            "line 4: parameter_space.bounds[]: prior of D0",
            "expected one of Uniform, Normal",
        ),
        (
            "parameter_space:\n  bounds:\n    - {name: D0, type: Normal, prior_mu: 3}",
            "line 3: parameter_space.bounds[]: prior of D0",
            "sigma of a Normal prior is None; expected a positive number",
        ),
        (
            "parameter_space:\n  bounds:\n    - {name: D0, type: Normal, prior_mu: 3, prior_sigma: -1}",
            "prior of D0",
            "sigma of a Normal prior is -1.0",
        ),
        (
            "parameter_space:\n  bounds:\n    - {name: D0, type: Uniform, prior_mu: 3}",
            "prior of D0",
            "a Uniform prior takes no mu",
        ),
        (
            "parameter_space:\n  bounds:\n    - {name: D0, min: -5, max: 5}",
            "line 2: parameter_space.bounds['D0']",
            "expected 0 or more",
        ),
        (
            "noise: {sigma: 1}\ninitial_parameters: {fixed_parameters: {D0: 1.0e+4}}",
            "line 2: initial_parameters: fixed['D0']",
            "a narrow prior does what holding does",
        ),
        (
            "parameter_space:\n  bounds:\n    - {name: contrast_2, max: 0.5}",
            "line 2: parameter_space.bounds: contrast_2",
            "expected contrast",
        ),
    ],
)
def test_errors_name_the_place_and_what_was_expected(text, where, what):
    with pytest.raises(ConfigurationError) as caught:
        parse_configuration(text, method="cmc")
    assert where in str(caught.value)
    assert what in str(caught.value)


def test_the_section_is_checked_whatever_the_method_and_bounds_only_for_a_posterior():
    with pytest.raises(ConfigurationError, match="num_warmup"):
        load({"optimization": {"cmc": {"num_warmup": 5}}}, method="nlsq")
    assert load(bounded({"name": "D0", "min": -5.0, "max": 5.0}), method="nlsq").warnings == ()
