"""A second fit of equal shapes compiles nothing."""

import jax
import numpy as np
import pytest

from homodyne_data import TwoTimeData
from homodyne_model.testing import rheometer_flow
from homodyne_nlsq import fit_nlsq_jax


@pytest.fixture
def compiled():
    """Number of programs that XLA compiled since the last call."""
    count = [0]

    def listen(event, duration, **_):
        count[0] += event == "/jax/core/compile/backend_compile_duration"

    def since_last_call():
        n, count[0] = count[0], 0
        return n

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield since_last_call
    jax.monitoring.unregister_event_duration_listener(listen)


def measured(seed, n_t=37):
    truth = rheometer_flow(4, n_t)
    model = truth.model
    # Other numbers of everything that is no shape: noise, times, wavevector, angles.
    stretch = 1 + 0.01 * seed
    maps = truth.noisy_maps(0.005, seed=seed)
    return TwoTimeData(
        maps,
        np.asarray(model.phi) + seed,
        np.asarray(model.t) * stretch,
        model.q * stretch,
        model.L,
        sigma=0.005 * stretch,
    )


@pytest.mark.parametrize(
    "settings",
    [{}, {"chunk_points": 1000}, {"loss": "huber"}, {"per_angle_scaling": False}],
    ids=["whole", "chunks", "huber", "common scaling"],
)
def test_a_second_fit_of_equal_shapes_compiles_nothing(compiled, settings):
    settings = {"analysis_mode": "laminar_flow"} | settings
    jax.clear_caches()
    first = fit_nlsq_jax(measured(1), settings)
    assert compiled() > 0
    second = fit_nlsq_jax(measured(2), settings)
    assert compiled() == 0
    assert first.physical != second.physical


def test_another_size_compiles_only_what_depends_on_it(compiled):
    fit_nlsq_jax(measured(1), {"analysis_mode": "laminar_flow"})
    compiled()
    fit_nlsq_jax(measured(1, n_t=41), {"analysis_mode": "laminar_flow"})
    assert compiled() > 0
