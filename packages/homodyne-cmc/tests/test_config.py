import json

import numpy as np
import pytest

from homodyne_cmc import CMCConfig, CMCInputError, Prior


def test_there_and_back():
    config = CMCConfig(
        analysis_mode="laminar_flow",
        num_shards=5,
        bounds={"D0": (10.0, 1e6), "contrast": (0.1, 0.5)},
        priors={"phi0": {"type": "Normal", "mu": 3.0, "sigma": 2.0}},
        checkpoint_dir="draws",
    )
    mapping = json.loads(json.dumps(config.to_mapping()))
    assert CMCConfig.from_mapping(mapping) == config
    assert config.priors["phi0"] == Prior("Normal", 3.0, 2.0)


def test_other_names_of_the_static_mode():
    assert CMCConfig(analysis_mode="static").analysis_mode == "static_isotropic"


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"num_shard": 3}, "Did you mean 'num_shards'"),
        ({"method": "hmc"}, "method is 'hmc'; expected one of cmc, nuts, laplace"),
        ({"noise": "known"}, "noise is 'known'"),
        ({"per_angle_mode": "auto"}, "per_angle_mode is 'auto'"),
        ({"num_shards": 0}, "num_shards is 0"),
        ({"num_samples": 2.5}, "num_samples is 2.5"),
        ({"num_chains": True}, "num_chains is True"),
        ({"method": "nuts", "num_shards": 4}, "divides nothing"),
        ({"target_accept_prob": 1.0}, "target_accept_prob is 1.0"),
        ({"bounds": {"D": (0, 1)}}, "unknown parameter 'D'"),
        ({"bounds": {"beta": (0, 1)}}, "no parameter of this analysis_mode"),
        ({"bounds": {"alpha": (1, 0)}}, "expected lower < upper"),
        ({"bounds": {"alpha": 1}}, "bounds\\['alpha'\\] is 1"),
        ({"bounds": {"D0": (-5.0, 1e6)}}, "expected 0 or more"),
        ({"bounds": {"alpha": (-np.inf, 2.0)}}, "expected finite bounds or priors"),
        (
            {"bounds": {"alpha": (-2.0, -1.0)}, "priors": {"alpha": {"type": "HalfNormal", "sigma": 1.0}}},
            "above 0",
        ),
        ({"priors": {"D0": {"type": "Normal"}}}, "mu of a Normal prior"),
        ({"seed": -1}, "seed is -1"),
        ({"shard_timeout": 0}, "shard_timeout is 0; expected a positive number of seconds"),
        ({"robust_draws": "yes"}, "robust_draws is 'yes'"),
        ({"fixed": {"D0": 1e4}}, "fixed\\['D0'\\] cannot be held"),
        ({"fixed": {"alpha": np.nan}}, "fixed\\['alpha'\\] is nan"),
        ({"fixed": {"contrast": 0.3}}, "fixed: 'contrast' is no parameter"),
        (
            {"fixed": {"alpha": 0.0}, "priors": {"alpha": {"type": "Normal", "mu": 0.0, "sigma": 1.0}}},
            "has a prior too",
        ),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(CMCInputError, match=message):
        CMCConfig.from_mapping(settings)


def test_wrong_types_are_refused():
    with pytest.raises(TypeError, match="bounds is 3"):
        CMCConfig(bounds=3)


def test_an_open_range_needs_a_prior():
    config = CMCConfig(
        bounds={"alpha": (-np.inf, np.inf)}, priors={"alpha": {"type": "Normal", "mu": 0.0, "sigma": 1.0}}
    )
    assert config.range_of("alpha") == (-np.inf, np.inf)
