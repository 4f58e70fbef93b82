import dataclasses
from collections import Counter

import pytest
import yaml

from homodyne_cli._config import Configuration
from homodyne_cli._config_read import _all_paths, parse_configuration
from homodyne_cli._config_template import template
from homodyne_degeneracy import DegeneracyConfig
from homodyne_global import CMAESWrapperConfig, MultiStartConfig
from homodyne_model import ModelError
from homodyne_nlsq import NLSQConfig


@pytest.mark.parametrize("mode", [None, "static_isotropic", "laminar_flow"])
def test_the_template_is_the_defaults(mode):
    loaded = parse_configuration(template(mode))
    configuration, warnings = loaded.configuration, loaded.warnings
    expected = Configuration() if mode is None else Configuration(analysis_mode=mode)
    assert warnings == ()
    assert dataclasses.replace(configuration, experimental_data=expected.experimental_data) == expected


def test_the_template_has_every_key_with_a_comment():
    text = template()
    lines = text.splitlines()
    keys = Counter(path.rpartition(".")[2] for path in _all_paths(Configuration) if "[]" not in path)
    for key, times in keys.items():
        positions = [k for k, line in enumerate(lines) if line.strip().startswith(f"{key}:")]
        assert len(positions) == times
        assert all(lines[position - 1].strip().startswith("#") for position in positions)


def test_the_template_shows_the_choices_of_the_scaling_and_the_error_bars():
    nlsq = yaml.safe_load(template())["optimization"]["nlsq"]
    assert nlsq["covariance_type"] == NLSQConfig.covariance_type
    assert nlsq["anti_degeneracy"] == DegeneracyConfig().to_mapping()
    assert (nlsq["per_angle_scaling"], nlsq["profile"]) == (None, [])


def test_the_template_has_the_defaults_of_the_searches():
    nlsq = yaml.safe_load(template())["optimization"]["nlsq"]
    assert nlsq["cmaes"] == CMAESWrapperConfig().to_mapping()
    assert nlsq["multi_start"] == MultiStartConfig().to_mapping()


def test_commented_examples_are_valid_too():
    text = template("laminar_flow")
    lines = [line.replace("# - {", "- {") if "# - {" in line else line for line in text.splitlines()]
    lines = [
        line.removesuffix(" []") if line.strip() in ("target_ranges: []", "bounds: []") else line
        for line in lines
    ]
    configuration = parse_configuration("\n".join(lines)).configuration
    assert len(configuration.phi_filtering.target_ranges) == 2
    assert len(configuration.parameter_space.bounds) == 9


def test_yaml_1_1_reads_every_number_as_a_number():
    assert isinstance(yaml.safe_load(template())["optimization"]["nlsq"]["tolerance"], float)


def test_an_unknown_mode_is_refused():
    with pytest.raises(ModelError, match="turbulent"):
        template("turbulent")
