"""Keys, defaults, and what is refused."""

import numpy as np
import pytest

from homodyne_global import CMAESWrapper, CMAESWrapperConfig, GlobalSearchError, MultiStartConfig

CMAES = {
    "enable": False,
    "preset": "cmaes",
    "max_generations": None,
    "max_evaluations": None,
    "sigma": 0.5,
    "tol_fun": 1e-8,
    "tol_x": 1e-8,
    "restart_strategy": "bipop",
    "max_restarts": 9,
    "population_batch_size": None,
    "data_chunk_size": None,
    "refine_with_nlsq": True,
    "auto_select": True,
    "scale_threshold": 1000.0,
    "memory_limit_gb": 8.0,
    "seed": None,
    "refinement_workflow": "auto",
    "refinement_ftol": 1e-10,
    "refinement_xtol": 1e-10,
    "refinement_gtol": 1e-10,
    "refinement_max_nfev": 500,
    "refinement_loss": "linear",
}
MULTI_START = {
    "enable": False,
    "n_starts": 10,
    "seed": 42,
    "screen_keep_fraction": 0.5,
    "refine_top_k": 3,
    "n_workers": None,
}


@pytest.mark.parametrize("kind, defaults", [(CMAESWrapperConfig, CMAES), (MultiStartConfig, MULTI_START)])
def test_keys_and_defaults(kind, defaults):
    assert kind().to_mapping() == defaults
    assert kind.from_mapping({}) == kind()
    assert kind.from_mapping(kind.from_mapping(defaults).to_mapping()) == kind()


@pytest.mark.parametrize("preset, generations", [("cmaes-fast", 50), ("cmaes", 100), ("cmaes-global", 200)])
def test_presets(preset, generations):
    assert CMAESWrapperConfig(preset=preset).generations == generations
    assert CMAESWrapperConfig(preset=preset, max_generations=7).generations == 7


@pytest.mark.parametrize(
    "kind, mapping, message",
    [
        (
            CMAESWrapperConfig,
            {"max_generation": 5},
            "unknown setting cmaes.max_generation. Did you mean max_generations?",
        ),
        (CMAESWrapperConfig, {"xyz": 5}, "unknown setting cmaes.xyz. Known: enable, preset"),
        (
            MultiStartConfig,
            {"nstarts": 5},
            "unknown setting multi_start.nstarts. Did you mean n_starts?",
        ),
        (MultiStartConfig, [1], r"multi_start is \[1\]; expected a mapping"),
        (
            CMAESWrapperConfig,
            {"preset": "best"},
            "preset is 'best'; expected one of cmaes-fast, cmaes, cmaes-global",
        ),
        (CMAESWrapperConfig, {"restart_strategy": "ipop"}, "expected one of none, bipop"),
        (CMAESWrapperConfig, {"refinement_workflow": "fast"}, "expected one of auto, standard, streaming"),
        (CMAESWrapperConfig, {"refinement_loss": "cauchy"}, "expected one of linear, soft_l1, huber"),
        (CMAESWrapperConfig, {"enable": 1}, "enable is 1; expected true or false"),
        (CMAESWrapperConfig, {"sigma": 0}, "sigma is 0; expected a number above 0"),
        (CMAESWrapperConfig, {"sigma": np.nan}, "sigma is nan"),
        (CMAESWrapperConfig, {"tol_fun": 1.0}, "tol_fun is 1.0; expected a number above 0 and below 1"),
        (CMAESWrapperConfig, {"max_restarts": -1}, "max_restarts is -1; expected a whole number, at least 0"),
        (CMAESWrapperConfig, {"seed": 1.5}, "seed is 1.5; expected a whole number, at least 0 or null"),
        (CMAESWrapperConfig, {"max_generations": 0}, "at least 1 or null"),
        (CMAESWrapperConfig, {"memory_limit_gb": True}, "memory_limit_gb is True"),
        (MultiStartConfig, {"screen_keep_fraction": 1.5}, "above 0 and at most 1"),
        (MultiStartConfig, {"n_starts": 0}, "n_starts is 0"),
        (MultiStartConfig, {"n_workers": 0}, "n_workers is 0"),
    ],
)
def test_what_is_refused(kind, mapping, message):
    with pytest.raises(GlobalSearchError, match=message):
        kind.from_mapping(mapping)


def test_the_wrapper_takes_settings_and_mappings():
    assert CMAESWrapper().config == CMAESWrapperConfig()
    assert CMAESWrapper({"seed": 3}).config == CMAESWrapperConfig(seed=3)
    assert CMAESWrapper(CMAESWrapperConfig(seed=3)).config.seed == 3
    with pytest.raises(GlobalSearchError, match="cmaes.sead. Did you mean seed"):
        CMAESWrapper({"sead": 3})
