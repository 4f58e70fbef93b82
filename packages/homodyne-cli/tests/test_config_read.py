import dataclasses
import textwrap
from pathlib import Path

import pytest

from homodyne_cli._config import Configuration
from homodyne_cli._config_history import FORMER_KEYS, FORMER_VALUES
from homodyne_cli._config_keys import ConfigurationError
from homodyne_cli._config_layers import AntiDegeneracy, Regularization
from homodyne_cli._config_read import _all_paths, load_configuration, parse_configuration
from homodyne_cli._config_search import CMAES, MultiStart
from homodyne_degeneracy import DegeneracyConfig, RegularizationConfig
from homodyne_global import CMAESWrapperConfig, MultiStartConfig


def parse(text):
    """Configuration and warnings."""
    loaded = parse_configuration(textwrap.dedent(text), path=Path("a.yaml"))
    return loaded.configuration, loaded.warnings


def settings_of(text):
    """Settings of the fit and warnings."""
    loaded = parse_configuration(text)
    return loaded.settings, loaded.warnings


@pytest.mark.parametrize(
    "text, where, what",
    [
        ("analysis_mod: static", "line 1", "did you mean 'analysis_mode'?"),
        ("analyzer_parameters:\n  dt: 0.1\n  start_fram: 1", "line 3: analyzer_parameters", "'start_frame'"),
        (
            "analyzer_parameters:\n  wavevector_q: 0.005",
            "line 2",
            "analyzer_parameters.scattering.wavevector_q",
        ),
        ("optimization:\n  nlsq:\n    max_iteration: 3", "line 3: optimization.nlsq", "'max_iterations'"),
        (
            "parameter_space:\n  bounds:\n    - {name: D0, mim: 1}",
            "line 3: parameter_space.bounds[]",
            "'min'",
        ),
        ("qqq: 1", "line 1", "expected one of analysis_mode"),
        ("noise: {sigma: 0.1}\nnoise: {sigma: 0.2}", "line 2: noise", "twice"),
        ("noise: 0.1", "line 1: noise", "expected keys and values, got 0.1"),
        ("noise: {sigma: -1}", "line 1: noise.sigma", "not above 0"),
        ("noise: {sigma: high}", "line 1: noise.sigma", "'high' is not a number"),
        ("noise: {sigma: true}", "line 1: noise.sigma", "True is not a number"),
        ("noise: {sigma: .nan}", "line 1: noise.sigma", "nan"),
        ("analyzer_parameters: {start_frame: 0}", "start_frame", "at least 1"),
        ("analyzer_parameters: {start_frame: 1.5}", "start_frame", "whole number"),
        ("analyzer_parameters: {end_frame: -2}", "end_frame", "or -1"),
        ("analyzer_parameters: {start_frame: 10, end_frame: 10}", "analyzer_parameters", "end_frame is 10"),
        ("analyzer_parameters: {bad_frames: 3}", "bad_frames", "not a list"),
        ("analyzer_parameters: {bad_frames: [9-3]}", "bad_frames", "before its beginning"),
        ("analyzer_parameters: {bad_frames: [1-10000000000]}", "bad_frames", "beyond any measurement"),
        ("analyzer_parameters: {time_origin: start}", "time_origin", "'selection'"),
        ("analyzer_parameters: {time_origin: -1}", "time_origin", "at least 0"),
        ("analyzer_parameters: {scattering: {wavevector_q: []}}", "wavevector_q", "empty"),
        ("analyzer_parameters: {scattering: {wavevector_q: [0.01, 0.01]}}", "wavevector_q", "twice"),
        (
            "analyzer_parameters: {geometry: {stator_rotor_gap: 200 ft}}",
            "stator_rotor_gap",
            "the units of a length",
        ),
        ("phi_filtering: {enabled: true}", "phi_filtering", "target_ranges is empty"),
        ("phi_filtering: {enabled: sometimes}", "phi_filtering.enabled", "neither true nor false"),
        ("phi_filtering: {target_ranges: {min_angle: 1}}", "target_ranges", "expected a list"),
        ("initial_parameters: {values: [1.0]}", "initial_parameters", "1 values for 3 parameters"),
        ("initial_parameters: {parameter_names: [D0, D0]}", "parameter_names", "twice"),
        ("initial_parameters: {fixed_parameters: {alfa: 0}}", "fixed_parameters", "did you mean 'alpha'?"),
        ("initial_parameters: {fixed_parameters: [alpha]}", "fixed_parameters", "not a mapping"),
        ("initial_parameters: {active_parameters: []}", "active_parameters", "empty"),
        (
            "initial_parameters: {active_parameters: [D0]}",
            "initial_parameters",
            "alpha is not in active_parameters",
        ),
        (
            "initial_parameters: {active_parameters: [D0], fixed_parameters: {D0: 1}}",
            "initial_parameters",
            "D0 stands in active_parameters and in fixed_parameters",
        ),
        (
            "parameter_space: {bounds: [{name: alpa, min: 1}]}",
            "parameter_space.bounds",
            "did you mean 'alpha'?",
        ),
        ("parameter_space: {bounds: [{min: 1}]}", "bounds[]", "no name"),
        ("parameter_space: {bounds: [{name: D0, min: 9, max: 3}]}", "bounds[]", "min 9 is not below max 3"),
        ("parameter_space: {bounds: [{name: D0}, {name: D0}]}", "parameter_space", "twice"),
        ("analysis_mode: turbulent", "a.yaml", "turbulent"),
        ("shear_kernel: gap", "a.yaml", "shear_kernel is 'gap'"),
        (
            "optimization:\n  nlsq:\n    per_angle_mode: constant",
            "line 3: optimization.nlsq",
            "the key of that name is optimization.nlsq.anti_degeneracy.per_angle_mode",
        ),
        ("optimization: {nlsq: {covariance_type: magic}}", "line 1", "expected one of robust, hessian"),
        ("optimization: {nlsq: {profile: D0}}", "line 1: optimization.nlsq.profile", "not a list"),
        ("optimization: {nlsq: {profile: [D0, D0]}}", "line 1: optimization.nlsq.profile", "twice"),
        (
            "optimization:\n  nlsq:\n    profile: [alfa]",
            "line 3: optimization.nlsq.profile",
            "did you mean 'alpha'?",
        ),
        (
            "optimization: {nlsq: {per_angle_scaling: {contrast: null}}}",
            "optimization.nlsq.per_angle_scaling",
            "neither true nor false",
        ),
        ("optimization: {nlsq: {loss: cauchy}}", "line 1", "expected one of linear, soft_l1, huber"),
        ("optimization: {nlsq: {f_scale: 0}}", "optimization.nlsq.f_scale", "not above 0"),
        ("optimization: {nlsq: {engine: scipy}}", "line 1", "expected one of structured, nlsq"),
        ("optimization: {nlsq: {use_adapter: maybe}}", "use_adapter", "neither true nor false"),
        ("optimization:\n  nlsq:\n    memory_fraction: 2", "line 3", "a number from 0.1 to 0.9"),
        ("optimization: {nlsq: {chunk_points: 0}}", "chunk_points", "at least 1"),
        (
            "optimization: {nlsq: {hybrid_streaming: {chunksize: 4}}}",
            "line 1: optimization.nlsq.hybrid_streaming",
            "did you mean 'chunk_size'?",
        ),
        ("optimization: {nlsq: {chunk_size: 4}}", "nlsq", "optimization.nlsq.hybrid_streaming.chunk_size"),
        (
            "optimization:\n  nlsq:\n    hybrid_streaming:\n      max_warmup_iterations: 7",
            "line 4",
            "expected at least warmup_iterations, 100",
        ),
        ("optimization: {recovery: {max_attempts: 9}}", "line 1: recovery.max_attempts", "1, 2 or 3"),
        ("optimization: {recovery: {max_attempt: 2}}", "optimization.recovery", "'max_attempts'"),
        ("experimental_data: {stream: sometimes}", "stream", "neither auto nor true nor false"),
        ("output: {fitted_maps: 1}", "output.fitted_maps", "neither auto nor true nor false"),
        ("optimization: {method: lsq}", "optimization.method", "'lsq' is not one of nlsq, cmc, both"),
        ("initial_parameters: {per_angle_scaling: [0.3]}", "per_angle_scaling", "neither true nor false"),
        (
            "optimization: {nlsq: {engine: nlsq, anti_degeneracy: {per_angle_mode: fourier}}}",
            "line 1: anti_degeneracy.per_angle_mode",
            "expected engine 'structured'",
        ),
        ("output: {plots: [mapz]}", "output.plots", "maps, lag_cuts, curves, scaling"),
        ("output: {formats: [gif]}", "output.formats", "png, pdf, svg"),
        ("output: {formats: []}", "output", "formats is empty"),
        ("a: [1, 2", "line 1", "not valid YAML"),
        ("a:\n\t- 1", "line 2", "not valid YAML"),
        ("- a\n- b", "line 1", "expected keys and values"),
        ("", "a.yaml", "is empty"),
        ("---\n", "a.yaml", "is empty"),
        ("a: 1\n---\nb: 2", "line 2", "not valid YAML"),
        ("a: 1 # \0", "a.yaml", "the control character #x00"),
        ("noise:\n  sigma: !!int 'abc'", "line 2", "not valid YAML"),
        ("noise:\n  sigma: 2024-99-99", "line 2", "not valid YAML"),
        ("optimization: {nlsq: {max_iterations: " + 400 * "9" + "}}", "line 1: optimization", "digits"),
        ("analyzer_parameters: {dt: " + 400 * "9" + "}", "line 1: analyzer_parameters.dt", "not a time"),
        (
            "initial_parameters:\n  fixed_parameters:\n    alpha: 0\n    alpha: 1",
            "line 4: initial_parameters.fixed_parameters.alpha",
            "twice",
        ),
        ("initial_parameters: {values: [.inf, 0, 0]}", "line 1: initial_parameters.values", "not finite"),
        (
            "noise: {sigma: 1}\ninitial_parameters:\n  values: [1.0e+10, null, null]",
            "line 3: initial_parameters.values",
            "D0 starts at 1e+10; expected a value within its bounds, 1 to 1e+09",
        ),
        (
            "phi_filtering: {enabled: true, target_ranges: [{min_angle: .inf}]}",
            "line 1: phi_filtering.target_ranges[].min_angle",
            "not finite",
        ),
        ("noise: {sigma: !!python/name:os.system ''}", "line 1", "not valid YAML"),
    ],
)
def test_errors_name_the_place_and_what_was_expected(text, where, what):
    with pytest.raises(ConfigurationError) as caught:
        parse(text)
    assert str(caught.value).startswith("a.yaml")
    assert where in str(caught.value)
    assert what in str(caught.value)


SYSTEM = "optimization.nlsq.anti_degeneracy"


@pytest.mark.parametrize(
    "section, where, what",
    [
        (
            "per_angle_mode: some",
            "per_angle_mode is 'some'",
            "expected one of auto, individual, fourier, constant",
        ),
        ("fourier_order: 0", "fourier_order", "at least 1"),
        ("fourier_auto_threshold: 2.5", "fourier_auto_threshold", "not a whole number"),
        ("enable: 1", "enable", "neither true nor false"),
        ("regularisation: {enable: true}", "unknown key", "did you mean 'regularization'?"),
        ("hierarchical: {enabled: true}", "hierarchical", "did you mean 'enable'?"),
        ("hierarchical: {outer_tolerance: 2}", "hierarchical.outer_tolerance is 2", "above 0 and below 1"),
        ("hierarchical: {max_outer_iterations: 0}", "hierarchical.max_outer_iterations", "at least 1"),
        ("regularization: {mode: soft}", "regularization.mode is 'soft'", "relative, absolute, auto"),
        ("regularization: {lambda: -1}", "regularization.lambda", "not above 0"),
        ("regularization: {lambda_: 1}", "regularization", "did you mean 'lambda'?"),
        (
            "regularization: {target_contrib: 0.1, target_contribution: 0.1}",
            "regularization",
            "target_contribution and target_contrib are one key",
        ),
        (
            "gradient_monitoring: {response: panic}",
            "gradient_monitoring.response is 'panic'",
            "warn, hierarchical",
        ),
        ("shear_weighting: {min_weight: 1.5}", "shear_weighting.min_weight is 1.5", "at most 1"),
        ("shear_weighting: [1, 2]", "shear_weighting", "expected keys and values"),
    ],
)
def test_errors_of_the_anti_degeneracy_section_name_the_key_and_the_line(section, where, what):
    with pytest.raises(ConfigurationError) as caught:
        parse(f"optimization:\n  nlsq:\n    anti_degeneracy:\n      {section}")
    assert str(caught.value).startswith(f"a.yaml, line 4: {SYSTEM}")
    assert where in str(caught.value)
    assert what in str(caught.value)


def test_the_anti_degeneracy_section_has_the_defaults_of_its_package():
    for text in ("{}", "optimization: {nlsq: {anti_degeneracy: {regularization: }}}"):
        settings = parse_configuration(text).settings
        assert settings.anti_degeneracy == DegeneracyConfig()
    for specs, of in ((AntiDegeneracy, DegeneracyConfig), (Regularization, RegularizationConfig)):
        assert [spec.name for spec in dataclasses.fields(specs)] == [s.name for s in dataclasses.fields(of)]


def test_an_alias_is_the_key():
    settings, warnings = settings_of(
        "optimization: {nlsq: {anti_degeneracy: {regularization: {target_contrib: 0.3, lambda: 2}}}}"
    )
    assert settings.anti_degeneracy.regularization == RegularizationConfig(
        lambda_=2.0, target_contribution=0.3
    )
    assert warnings == ()


@pytest.mark.parametrize(
    "name, section, where, what",
    [
        ("cmaes", "preset: fast", "preset is 'fast'", "expected one of cmaes-fast, cmaes, cmaes-global"),
        ("cmaes", "restart_strategy: ipop", "restart_strategy is 'ipop'", "expected one of none, bipop"),
        ("cmaes", "refinement_workflow: hold", "refinement_workflow is 'hold'", "auto, standard, streaming"),
        ("cmaes", "refinement_loss: cauchy", "refinement_loss is 'cauchy'", "linear, soft_l1, huber"),
        ("cmaes", "tol_fun: 2", "tol_fun is 2.0", "above 0 and below 1"),
        ("cmaes", "tol_x: 0", "tol_x", "not above 0"),
        ("cmaes", "sigma: -1", "sigma", "not above 0"),
        ("cmaes", "max_restarts: -1", "max_restarts", "at least 0"),
        ("cmaes", "max_generations: 1.5", "max_generations", "not a whole number"),
        ("cmaes", "seed: old", "seed", "'old' is neither a whole number of at least 0 nor new"),
        ("cmaes", "enable: 1", "enable", "neither true nor false"),
        ("cmaes", "max_generation: 3", "unknown key", "did you mean 'max_generations'?"),
        ("cmaes", "n_starts: 3", "unknown key", "is optimization.nlsq.multi_start.n_starts"),
        ("multi_start", "n_starts: 0", "n_starts", "at least 1"),
        ("multi_start", "screen_keep_fraction: 1.5", "screen_keep_fraction is 1.5", "at most 1"),
        ("multi_start", "refine_top_k: -1", "refine_top_k", "at least 0"),
        ("multi_start", "n_workers: -1", "n_workers", "at least 1"),
        ("multi_start", "[1, 2]", "multi_start", "expected keys and values"),
    ],
)
def test_errors_of_the_searches_name_the_key_and_the_line(name, section, where, what):
    with pytest.raises(ConfigurationError) as caught:
        parse(f"optimization:\n  nlsq:\n    {name}:\n      {section}")
    assert str(caught.value).startswith(f"a.yaml, line 4: optimization.nlsq.{name}")
    assert where in str(caught.value)
    assert what in str(caught.value)


def test_losses_that_contradict_each_other_are_an_error():
    asked = "optimization:\n  nlsq:\n    loss: huber\n    cmaes: {enable: %s, refinement_loss: soft_l1}"
    with pytest.raises(ConfigurationError) as caught:
        parse(asked % "true")
    assert str(caught.value).startswith(
        "a.yaml, line 4: cmaes.refinement_loss is 'soft_l1', but loss is 'huber'"
    )
    parse(asked % "false")


def test_the_searches_have_the_defaults_of_their_package():
    for text in ("{}", "optimization: {nlsq: {cmaes: , multi_start: {n_starts: null}}}"):
        settings = parse_configuration(text).settings
        assert settings.cmaes == CMAESWrapperConfig()
        assert settings.multi_start == MultiStartConfig()
        assert not settings.enable_cmaes
        assert not settings.enable_multi_start
    for specs, of in ((CMAES, CMAESWrapperConfig), (MultiStart, MultiStartConfig)):
        assert [spec.name for spec in dataclasses.fields(specs)] == [s.name for s in dataclasses.fields(of)]


def test_a_seed_may_be_new_every_time():
    asked = "optimization: {nlsq: {cmaes: {seed: %s}, multi_start: {seed: %s}}}"
    for seeds, expected in ((("new", "new"), (None, None)), ((7, 8), (7, 8)), (("null", "null"), (None, 42))):
        settings = parse_configuration(asked % seeds).settings
        assert (settings.cmaes.seed, settings.multi_start.seed) == expected


@pytest.mark.parametrize(
    "section, hint",
    [
        ("sigma: 5", "beyond the bounds, which are 2 apart"),
        ("memory_limit_gb: 8000", "8000 GB is an unusual"),
    ],
)
def test_unusual_settings_of_a_search_are_a_warning(section, hint):
    _, (warning,) = parse(f"optimization:\n  nlsq:\n    cmaes: {{{section}}}")
    assert "line 3: optimization.nlsq.cmaes." in warning
    assert hint in warning


HERE, FORMER = (
    "optimization: {nlsq: {per_angle_scaling: %s}}\n",
    "initial_parameters: {per_angle_scaling: %s}\n",
)


@pytest.mark.parametrize(
    "text, scaling",
    [
        ("{}", True),
        (HERE % "true", True),
        (HERE % "false", False),
        (FORMER % "false", False),
        (FORMER % "true", True),
        (FORMER % "null" + HERE % "false", False),
        (FORMER % "{contrast: null, offset: null}" + HERE % "false", False),
        (FORMER % "false" + HERE % "false", False),
        (FORMER % "false" + HERE % "null", False),
    ],
)
def test_one_scaling_for_all_angles_may_be_asked_for_in_two_places(text, scaling):
    settings, warnings = settings_of(text)
    assert settings.per_angle_scaling is scaling
    assert warnings == ()


@pytest.mark.parametrize("here, former", [("true", "false"), ("false", "true")])
def test_two_places_that_contradict_each_other_are_an_error(here, former):
    with pytest.raises(ConfigurationError) as caught:
        parse(FORMER % former + HERE % here)
    assert str(caught.value).startswith(f"a.yaml, line 2: optimization.nlsq.per_angle_scaling is {here}")
    assert f"initial_parameters.per_angle_scaling is {former}" in str(caught.value)


@pytest.mark.parametrize("mode", ["individual", "fourier"])
def test_one_scaling_for_all_angles_contradicts_modes_with_more(mode):
    asked = f"per_angle_scaling: false, anti_degeneracy: {{per_angle_mode: {mode}}}"
    with pytest.raises(ConfigurationError) as caught:
        parse(f"optimization: {{nlsq: {{{asked}}}}}")
    assert "line 1: optimization.nlsq.per_angle_scaling is false" in str(caught.value)
    assert f"{SYSTEM}.per_angle_mode is '{mode}'" in str(caught.value)
    with pytest.raises(ConfigurationError, match="line 2: initial_parameters.per_angle_scaling is false"):
        parse(f"optimization: {{nlsq: {{anti_degeneracy: {{per_angle_mode: {mode}}}}}}}\n" + FORMER % "false")


def test_profiles_of_the_other_mode_are_left_out_and_former_names_are_understood():
    asked = "optimization: {nlsq: {profile: [D0, gamma_dot_0]}}"
    settings, (warning,) = settings_of(asked)
    assert settings.profile == ("D0",)
    assert warning == "gamma_dot_t0: no parameters of static_isotropic, left out"
    settings, warnings = settings_of(f"analysis_mode: laminar_flow\n{asked}")
    assert (settings.profile, warnings) == (("D0", "gamma_dot_t0"), ())
    for every in ("all", "[all]", "All"):
        settings = parse_configuration(f"optimization: {{nlsq: {{profile: {every}}}}}").settings
        assert settings.profile == ("D0", "alpha", "D_offset")


def test_all_may_be_written_in_capitals():
    configuration, warnings = parse("analyzer_parameters: {scattering: {wavevector_q: All}}")
    assert configuration.analyzer_parameters.scattering.wavevector_q == "all"
    assert warnings == ()


def test_values_arrive():
    configuration, warnings = parse(
        """
        analysis_mode: laminar_flow
        analyzer_parameters:
          dt: 1.3 ms
          bad_frames: [17, 120-123]
          time_origin: 2.5
          scattering: {wavevector_q: [0.0054, 0.08 nm^-1]}
          geometry: {stator_rotor_gap: 200 um}
        phi_filtering:
          enabled: true
          target_ranges: [{min_angle: 170, max_angle: -170}]
        initial_parameters:
          values: [null, -0.5, null, 1e-3, null, null, 3]
        parameter_space:
          bounds: [{name: phi0, min: -30, max: 30}, {name: D0, max: 1e7}]
        optimization: {nlsq: {tolerance: 1e-9}}
        output: {plots: false, formats: [svg, png]}
        """
    )
    assert warnings == ()
    analyzer = configuration.analyzer_parameters
    assert analyzer.dt == pytest.approx(1.3e-3)
    assert analyzer.bad_frames == (17, 120, 121, 122, 123)
    assert analyzer.time_origin == 2.5
    assert analyzer.scattering.wavevector_q == pytest.approx((0.0054, 0.008))
    assert analyzer.geometry.gap == 2e6
    assert configuration.phi_filtering.ranges == ((170.0, -170.0),)
    assert configuration.initial_parameters.values == (None, -0.5, None, 1e-3, None, None, 3.0)
    assert [bound.interval for bound in configuration.parameter_space.bounds] == [(-30.0, 30.0), (1.0, 1e7)]
    assert configuration.optimization.nlsq.tolerance == 1e-9  # text for YAML 1.1, a number for people
    assert configuration.output.plots == ()
    assert configuration.output.formats == ("png", "svg")


def test_null_and_an_absent_key_and_an_empty_section_mean_the_default():
    explicit, _ = parse(
        "noise:\n  sigma: null\noutput:\nanalyzer_parameters: {start_frame: null}\nanalysis_mode: null"
    )
    absent, _ = parse("{}")
    assert explicit == absent == Configuration()


def test_anchors_and_merge_keys_work():
    configuration, _ = parse(
        """
        phi_filtering:
          enabled: true
          target_ranges:
            - &first {min_angle: -10, max_angle: 10}
            - {<<: *first, max_angle: 20}
        """
    )
    assert configuration.phi_filtering.ranges == ((-10.0, 10.0), (-10.0, 20.0))


@pytest.mark.parametrize(
    "text, hint",
    [
        ("analyzer_parameters: {scattering: {wavevector_q: 0.54}}", '"0.54 nm^-1"'),
        ("analyzer_parameters: {scattering: {wavevector_q: [0.01, 0.54]}}", '"0.54 nm^-1"'),
        ("analyzer_parameters: {geometry: {stator_rotor_gap: 200}}", '"200 um"'),
        ("analyzer_parameters: {dt: 100}", '"100 ms"'),
        ("noise: {sigma: 5}", "unusual noise"),
    ],
)
def test_an_unusual_magnitude_is_a_warning_with_the_line_and_the_likely_unit(text, hint):
    _, warnings = parse(text)
    assert len(warnings) == 1
    assert "line 1" in warnings[0]
    assert hint in warnings[0]


HISTORICAL = """
metadata: {config_version: "2.23.1", description: "anything", key_features: [a, b]}
analysis_mode: static
analyzer_parameters:
  dt: 0.001
  start_frame: 1
  end_frame: 2000
  scattering: {wavevector_q: 0.0054}
  geometry: {stator_rotor_gap: 2000000}
analysis_settings: {model_description: {type: static_diffusion}}
experimental_data:
  file_path: ./data/sample/experiment.hdf
  data_folder_path: ./data/sample/
  data_file_name: experiment.hdf
  phi_angles_path: ./data/sample/
  cache_filename_template: "cached_c2_static_q${wavevector_q}.npz"
phi_filtering:
  enabled: true
  target_ranges:
    - {min_angle: -10.0, max_angle: 10.0, description: Parallel}
    - {min_angle: 170.0, max_angle: -170.0, description: Antiparallel}
  fallback_to_all_angles: true
  algorithm: range_based
  tolerance: 3.0
  quality_control: {min_angles_required: 1}
initial_parameters:
  parameter_names: [D0, alpha, D_offset]
  values: null
  per_angle_scaling: {contrast: null, offset: null}
  units: ["Å²/s", dimensionless, "Å²/s"]
  active_parameters: null
  fixed_parameters: null
parameter_space:
  model: static
  bounds:
    - {name: contrast, min: 0.0, max: 1.0, type: TruncatedNormal}
    - {name: D0, min: 100.0, max: 1.0e+5, type: TruncatedNormal, prior_mu: 1e3, prior_sigma: 1, unit: "Å²/s"}
    - {name: gamma_dot_0, min: 1.0e-6, max: 0.5}
optimization:
  method: nlsq
  nlsq:
    max_iterations: 100
    tolerance: 1.0e-8
    trust_region_scale: 1.0
    loss: soft_l1
    memory_fraction: 0.75
    anti_degeneracy: {enable: false, per_angle_mode: auto, constant_scaling_threshold: 3}
    hybrid_streaming: {enable: true, warmup_iterations: 200, chunk_size: 10000, warm_start_threshold: 0.01}
    cmaes: {enable: false, sigma_warmstart: 0.05}
  stratification: {enabled: auto, target_chunk_size: 100000, max_imbalance_ratio: 5.0}
  recovery: {enable: true, max_attempts: 2, lr_decay: 0.5}
  mcmc: {num_warmup: 1000}
  cmc: {enable: auto, sharding: {num_shards: auto}, per_angle_mode: auto}
logging: {level: INFO}
output:
  directory: ./results
  formats: {hdf5: true, json: true, csv: true}
  create_subdirs: true
"""


def test_a_homodyne_2_file_loads_with_one_warning_about_keys():
    configuration, warnings = parse(HISTORICAL)
    about_keys = [w for w in warnings if "keys of homodyne 2.x" in w]
    assert len(about_keys) == 1
    for key in (
        "metadata",
        "experimental_data.{phi_angles_path (angles come from the data file), cache_filename_template}",
        "phi_filtering.{algorithm, tolerance (ranges are used as written), quality_control}",
        "parameter_space.bounds[].unit",
        "optimization.nlsq.trust_region_scale",
        "optimization.nlsq.cmaes.sigma_warmstart (see sigma)",
        "optimization.nlsq.anti_degeneracy.constant_scaling_threshold (auto compares the bases with the data",
        "optimization.nlsq.hybrid_streaming.{enable (see experimental_data.stream), warm_start_threshold}",
        "optimization.recovery.lr_decay",
        "optimization.{stratification (every chunk of rows holds all angles), mcmc (see optimization.cmc)}",
        "optimization.cmc.{enable (see optimization.method), sharding (see num_shards; every shard has rows of all maps)}",
        "output.{formats (results are always written as json, npz and csv), create_subdirs}",
    ):
        assert key in about_keys[0]
    assert configuration.optimization.method == "nlsq"
    assert "per_angle_scaling" not in about_keys[0]  # nulls ask for nothing
    # A bound for the other analysis mode is left out, under its present name.
    small, absent, priors = (w for w in warnings if w not in about_keys)
    assert "the priors of contrast, D0 have no effect on method nlsq" in priors
    assert "hybrid_streaming.chunk_size: so few points at once, 10000, make a streamed fit several" in small
    assert absent == "gamma_dot_t0: no parameters of static, left out"
    nlsq = configuration.optimization.nlsq
    assert (nlsq.max_iterations, nlsq.loss, nlsq.memory_fraction) == (100, "soft_l1", 0.75)
    assert not nlsq.anti_degeneracy.enable
    assert (nlsq.hybrid_streaming.warmup_iterations, nlsq.hybrid_streaming.chunk_size) == (200, 10000)
    assert configuration.optimization.recovery.max_attempts == 2
    assert configuration.phi_filtering.ranges == ((-10.0, 10.0), (170.0, -170.0))


FORMER_SECTIONS = """
optimization:
  nlsq:
    anti_degeneracy:
      enable: true
      per_angle_mode: fourier
      constant_scaling_threshold: 3
      fourier_order: 3
      fourier_auto_threshold: 8
      hierarchical:
        {enable: true, max_outer_iterations: 4, outer_tolerance: 1.0e-5, physical_max_iterations: 90,
        per_angle_max_iterations: 40, physical_ftol: 1.0e-8, per_angle_ftol: 1.0e-6, log_stage_transitions: true}
      regularization:
        {enable: true, mode: auto, lambda: 2.0, target_cv: 0.2, target_contribution: 0.3, max_cv: 0.2,
        auto_tune_lambda: true}
      gradient_monitoring:
        {enable: true, ratio_threshold: 0.02, consecutive_triggers: 6, response: hierarchical, watch_threshold: 1.0e-8}
      shear_weighting: {enable: true, alpha: 2.0, min_weight: 0.4, update_frequency: 50, normalize: false}
    hybrid_streaming:
      {enable: true, normalize: false, normalization_strategy: auto, warmup_iterations: 200,
      max_warmup_iterations: 400, warmup_learning_rate: 0.001, gauss_newton_max_iterations: 100,
      gauss_newton_tol: 1.0e-8, chunk_size: 50000, trust_region_initial: 1.0, regularization_factor: 1.0e-10,
      enable_checkpoints: true, checkpoint_frequency: 100, validate_numerics: true, verbose: 1, log_frequency: 1,
      enable_warm_start_detection: true, warm_start_threshold: 0.01, enable_adaptive_warmup_lr: true,
      warmup_lr_refinement: 1.0e-6, warmup_lr_careful: 1.0e-5, enable_cost_guard: true,
      cost_increase_tolerance: 0.05, enable_step_clipping: true, max_warmup_step_size: 0.1}
    cmaes:
      {enable: true, preset: cmaes-global, max_generations: null, sigma: 0.3, sigma_warmstart: 0.05,
      warmstart_auto_skip: true, warmstart_skip_threshold: 5.0, popsize: null, tol_fun: 1.0e-9, tol_x: 1.0e-9,
      restart_strategy: bipop, max_restarts: 10, population_batch_size: null, data_chunk_size: null,
      memory_limit_gb: 4.0, auto_select: false, scale_threshold: 100.0, normalize: true,
      normalization_epsilon: 1.0e-12, refine_with_nlsq: true, refinement_workflow: auto, refinement_ftol: 1.0e-9,
      refinement_xtol: 1.0e-9, refinement_gtol: 1.0e-9, refinement_max_nfev: 400, refinement_loss: linear}
    multi_start:
      {enable: true, n_starts: 20, seed: 7, sampling_strategy: latin_hypercube, n_workers: 0, use_screening: true,
      screen_keep_fraction: 0.4, refine_top_k: 2, refinement_ftol: 1.0e-12, degeneracy_threshold: 0.1}
  streaming: {enable_checkpoints: true, checkpoint_dir: ./checkpoints}
  stratification: {enabled: auto, target_chunk_size: 100000, max_imbalance_ratio: 5.0, use_index_based: false}
  recovery:
    {enable: false, max_attempts: 2, lr_decay: 0.5, lambda_growth: 2.0, trust_decay: 0.5, log_retries: true}
"""


def test_sections_of_homodyne_2_templates_load_whole():
    settings, (warning,) = settings_of(FORMER_SECTIONS)
    streaming = settings.hybrid_streaming
    assert (streaming.normalize, streaming.warmup_iterations, streaming.max_warmup_iterations) == (
        False,
        200,
        400,
    )
    assert (streaming.gauss_newton_max_iterations, streaming.chunk_size) == (100, 50000)
    assert (settings.recovery.enable, settings.recovery.max_attempts) == (False, 2)
    assert settings.anti_degeneracy == DegeneracyConfig.from_mapping(
        {
            "per_angle_mode": "fourier",
            "fourier_order": 3,
            "fourier_auto_threshold": 8,
            "hierarchical": {
                "enable": True,
                "max_outer_iterations": 4,
                "outer_tolerance": 1e-5,
                "physical_max_iterations": 90,
                "per_angle_max_iterations": 40,
            },
            "regularization": {
                "enable": True,
                "mode": "auto",
                "lambda": 2.0,
                "target_cv": 0.2,
                "target_contribution": 0.3,
            },
            "gradient_monitoring": {
                "ratio_threshold": 0.02,
                "consecutive_triggers": 6,
                "response": "hierarchical",
            },
            "shear_weighting": {"enable": True, "alpha": 2.0, "min_weight": 0.4, "normalize": False},
        }
    )
    for key in (
        f"{SYSTEM}.constant_scaling_threshold (",
        f"{SYSTEM}.hierarchical.{{physical_ftol, per_angle_ftol, log_stage_transitions}}",
        f"{SYSTEM}.regularization.{{max_cv (see target_cv), auto_tune_lambda (",
        f"{SYSTEM}.gradient_monitoring.watch_threshold",
        f"{SYSTEM}.shear_weighting.update_frequency",
    ):
        assert key in warning
    tolerances = {f"refinement_{kind}": 1e-9 for kind in ("ftol", "xtol", "gtol")} | {
        "tol_fun": 1e-9,
        "tol_x": 1e-9,
    }
    assert settings.cmaes == CMAESWrapperConfig(
        enable=True,
        preset="cmaes-global",
        sigma=0.3,
        max_restarts=10,
        memory_limit_gb=4.0,
        auto_select=False,
        scale_threshold=100.0,
        refinement_max_nfev=400,
        **tolerances,
    )
    assert settings.multi_start == MultiStartConfig(
        enable=True, n_starts=20, seed=7, screen_keep_fraction=0.4, refine_top_k=2
    )
    for key in (
        "optimization.nlsq.cmaes.{sigma_warmstart (see sigma), warmstart_auto_skip (see enable), "
        "warmstart_skip_threshold, popsize (it follows from the number of parameters and the restarts), normalize, "
        "normalization_epsilon}",
        "optimization.nlsq.multi_start.{sampling_strategy (a Latin hypercube), n_workers (0 is taken for null: one "
        "fit after the other), use_screening (see screen_keep_fraction), refinement_ftol (see "
        "optimization.nlsq.tolerance), degeneracy_threshold (",
    ):
        assert key in warning
    assert "per_angle_mode" not in warning
    assert "enable_checkpoints (every pass is kept)" in warning
    assert "chunk_size" not in warning
    assert "see experimental_data.stream and optimization.nlsq.hybrid_streaming" in warning


def test_former_start_values_of_the_scaling_are_named():
    _, (warning,) = settings_of(FORMER % "{contrast: [0.3, 0.2], offset: null}")
    assert "initial_parameters.per_angle_scaling (contrast and offset need no start values)" in warning


def test_a_sheared_homodyne_2_file_is_told_about_the_other_kernel():
    former = "analysis_mode: laminar_flow\nlogging: {level: INFO}\n"
    (warning,) = parse(former)[1]
    assert "homodyne2 reproduces" in warning
    (warning,) = parse(former + "shear_kernel: homodyne2\n")[1]
    assert "reproduces" not in warning


def test_no_key_is_both_in_use_and_former():
    assert not set(_all_paths(Configuration)) & set(FORMER_KEYS)


@pytest.mark.parametrize("value, effect", [(0, 0), (2, 2), (False, None), (None, None)])
def test_workers_of_a_former_file(value, effect):
    note = FORMER_VALUES["optimization.nlsq.multi_start.n_workers"](value)
    assert (note is not None) == (effect == 0)


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_configuration(tmp_path / "absent.yaml")
    with pytest.raises(FileNotFoundError, match="is a folder"):
        load_configuration(tmp_path)
    binary = tmp_path / "data.hdf"
    binary.write_bytes(b"\x89HDF\r\n\x1a\n\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="not a text file"):
        load_configuration(binary)


def test_the_data_file_is_found_from_the_configuration(tmp_path, monkeypatch):
    path = tmp_path / "a.yaml"

    def source(text):
        path.write_text(text, encoding="utf-8")
        return load_configuration(path).configuration.experimental_data.path(tmp_path)

    assert source("experimental_data: {file_path: x/d.hdf}") == tmp_path / "x/d.hdf"
    assert source("experimental_data: {data_folder_path: x, data_file_name: d.hdf}") == tmp_path / "x/d.hdf"
    assert source("experimental_data: {data_file_name: d.hdf}") == tmp_path / "d.hdf"
    assert source("experimental_data: {file_path: /abs/d.hdf}").as_posix() == "/abs/d.hdf"
    monkeypatch.setenv("HOME", "/home/of/me")
    assert source("experimental_data: {file_path: ~/d.hdf}").as_posix() == "/home/of/me/d.hdf"
    monkeypatch.setenv("BEAMTIME", "/beam")
    assert source("experimental_data: {file_path: '${BEAMTIME}/d.hdf'}").as_posix() == "/beam/d.hdf"
    monkeypatch.delenv("BEAMTIME")
    assert source("experimental_data: {file_path: '${BEAMTIME:-x}/d.hdf'}") == tmp_path / "x/d.hdf"
    with pytest.raises(ConfigurationError, match="BEAMTIME, which is not set"):
        source("experimental_data: {file_path: '${BEAMTIME}/d.hdf'}")
    with pytest.raises(ConfigurationError, match="no data file; expected file_path"):
        source("analysis_mode: static")
