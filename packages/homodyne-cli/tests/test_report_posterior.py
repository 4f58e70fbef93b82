"""What the terminal says about a posterior, from numbers made by hand."""

import dataclasses

import numpy as np
import pytest

from homodyne_cli._posterior_summary import Marginal
from homodyne_cli._report_posterior import how_begun, what_bounds_leave, what_priors_do, what_walls_do
from homodyne_cmc import Prior


def marginal(**changes):
    values = {
        "name": "D0",
        "unit": "Å²/s",
        "mean": 1e4,
        "sd": 100.0,
        "quantiles": 1e4 + 100.0 * np.array([-1.96, -1.0, 0.0, 1.0, 1.96]),
        "held": False,
        "robust_sd": 150.0,
        "widened": None,
        "at_lower": 0.0,
        "at_upper": 0.01,
        "prior": Prior(),
        "prior_sd": 1e6,
    }
    return Marginal(**values | changes)


def test_data_that_decide_need_no_sentence():
    found = [marginal()]
    assert (what_walls_do(found), what_bounds_leave(found), what_priors_do(found)) == ([], [], [])
    assert found[0].state == "sampled"


@pytest.mark.parametrize(
    "shares, state, sides",
    [
        ({"at_lower": 0.31}, "at lower bound", ["31 % of the draws of D0 are at its lower bound"]),
        ({"at_upper": 0.03}, "at upper bound", ["3 % of the draws of D0 are at its upper bound"]),
        ({"at_lower": 0.4, "at_upper": 0.4}, "at both bounds", ["40 %", "40 %"]),
    ],
)
def test_walls(shares, state, sides):
    one = marginal(**shares)
    assert one.state == state
    for sentence, words in zip(what_walls_do([one]), sides, strict=True):
        assert words in sentence


def test_a_prior_and_what_the_data_leave_of_it():
    strong, weak = (marginal(prior=Prior("Normal", 1e4, 110.0), prior_sd=sd) for sd in (110.0, 1000.0))
    assert what_priors_do([strong]) == [
        "The posterior of D0 is 0.91 times as wide as its Normal prior: the prior says more about it than the data."
    ]
    assert what_priors_do([weak]) == ["The posterior of D0 is 0.1 times as wide as its Normal prior."]
    assert what_bounds_leave([strong]) == []
    assert (
        "is 0.91 times as wide as its bounds leave it anyway"
        in what_bounds_leave([marginal(prior_sd=110.0)])[0]
    )


def test_a_parameter_that_is_held_or_has_no_draws():
    held = marginal(sd=np.nan, held=True, at_lower=1.0, at_upper=1.0, prior=Prior("HalfNormal", sigma=3.0))
    assert held.state == "held fixed"
    assert what_walls_do([held]) == what_priors_do([held]) == what_bounds_leave([held]) == []
    assert marginal(mean=np.nan, sd=np.nan).state == "not sampled"


def test_where_sampling_began(still, result_of):
    fit = result_of(still)
    assert how_begun(fit) == "begun from the fit: converged, quality good, reduced χ² 1.01"
    failed = dataclasses.replace(fit, convergence_status="failed", message="No step helped.")
    assert how_begun(failed) == "begun without the fit, which failed: No step helped."
    assert how_begun(None).startswith("begun without a fit")
