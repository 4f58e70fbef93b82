"""Rates that do not depend on age in truth: power law and constant are the same thing, which the report has to say, and the curves are known."""

import numpy as np
import pytest

from homodyne_data import TwoTimeData
from homodyne_model.testing import colloid, rheometer_flow
from homodyne_nlsq import fit_nlsq_jax

SIGMA = 0.02
CONSTANT_DIFFUSION = colloid(3, 100)._replace(physical=np.array([8e3, 0.0, 2e3]))
CONSTANT_SHEAR = rheometer_flow(6, 80)._replace(
    physical=np.array([6.85e4, -1.327, 1.71e3, 2e-4, 0.0, 0.5e-4, 2.0])
)
CASES = {
    "alpha = 0": (CONSTANT_DIFFUSION, "diffusion", 1e4, ("D0", "D_offset")),
    "beta = 0": (CONSTANT_SHEAR, "shear", 2.5e-4, ("gamma_dot_t0", "gamma_dot_t_offset")),
}


def fit(truth, seed, **settings):
    model = truth.model
    data = TwoTimeData(truth.noisy_maps(SIGMA, seed=seed), model.phi, model.t, model.q, model.L)
    return fit_nlsq_jax(data, {"analysis_mode": model.analysis_mode.value, **settings})


def names_the_pair(found, pair):
    return any(set(pair) == {rate.amplitude, rate.offset} for rate in found.identifiability.flat) and any(
        f"{pair[0]} and {pair[1]} are an exactly degenerate pair" in sentence for sentence in found.warnings
    )


def score(found, curve, true, time) -> float:
    """Distance of a curve from the truth in standard errors; a shear rate may come out with the other sign."""
    value, error = getattr(found, curve).at(time)
    return float((abs(value) - true) / error)


@pytest.mark.parametrize("seed", range(2))
def test_constant_diffusion_is_named_and_its_curve_is_known(seed):
    truth, curve, true, pair = CASES["alpha = 0"]
    found = fit(truth, seed)
    assert found.success
    assert names_the_pair(found, pair)
    assert any("fix D_offset = 0 and read D0 as the whole rate" in s for s in found.identifiability.advice)
    assert "exactly degenerate pair" in found.to_json()
    assert found.diffusion.at(found.t_mid)[1] < 0.03 * true
    assert abs(score(found, curve, true, found.t_mid)) < 4


def test_constant_shear_is_named():
    truth, curve, true, pair = CASES["beta = 0"]
    found = fit(truth, 0)
    assert names_the_pair(found, pair)
    assert {rate.amplitude for rate in found.identifiability.flat} == {"gamma_dot_t0"}
    assert abs(score(found, curve, true, found.t_mid)) < 4


def test_a_shear_rate_of_the_other_sign_is_said():
    truth = CASES["beta = 0"][0]
    held = {"gamma_dot_t0": 1e-6, "beta": 0.0}
    settings = {"fixed": held, "initial": {"gamma_dot_t_offset": -2e-4}}
    found = fit(truth, 0, **settings)
    said = [w for w in found.warnings if "negative throughout" in w]
    assert len(said) == (found.physical["gamma_dot_t_offset"] < 0)
    mirrored = fit(truth, 0, fixed=held, bounds={"gamma_dot_t_offset": (-1e-2, -1e-5)})
    assert any("C2 is the same for a rate and its negative" in w for w in mirrored.warnings)
    assert mirrored.chi_squared == pytest.approx(found.chi_squared, rel=1e-6)


def test_a_rate_that_depends_on_age_is_not_called_constant():
    found = fit(colloid(3, 100), 1)
    assert found.identifiability.flat == ()


def test_with_the_exponent_held_nothing_is_chosen_and_the_band_stays(rest):
    settings = {"fixed": {"alpha": 0.5}}
    truth = CASES["alpha = 0"][0]
    found = fit(truth, 1, **settings)
    k = len(found.parameters) - 3
    slope = np.zeros(len(found.parameters))
    slope[k], slope[k + 2] = found.t_mid**0.5, 1.0
    free = np.nan_to_num(found.covariance)
    assert found.diffusion.at(found.t_mid)[1] == pytest.approx(np.sqrt(slope @ free @ slope), rel=1e-4)


@pytest.mark.statistics
@pytest.mark.parametrize("case", CASES)
def test_bands_cover_constant_rates(case, capsys):
    truth, curve, true, pair = CASES[case]
    replicates = 100
    t = truth.model.t
    times = (t[5], (t[0] + t[-1]) / 2, t[-5])
    named, scores = 0, []
    for seed in range(replicates):
        found = fit(truth, seed)
        named += names_the_pair(found, pair)
        scores.append([score(found, curve, true, time) for time in times])
    within = [100 * (np.abs(scores) < width).mean(axis=0) for width in (1.0, 1.96)]
    with capsys.disabled():
        print(f"\n{case}: {pair[0]} and {pair[1]} named in {named} of {replicates}")
        for time, one, two in zip(times, *within, strict=True):
            print(f"{curve} at {time:5.2f} s: {one:.0f} % within 1, {two:.0f} % within 1.96 standard errors")
    assert named >= 0.97 * replicates
    # One shape has to be chosen from many: the bands allow for all of them and may be too wide.
    assert (within[0] >= 60).all()
    assert (within[1] >= 89).all()
