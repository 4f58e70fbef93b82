"""The averages that start values come from, and the model between frames."""

import jax.numpy as jnp
import numpy as np

from homodyne_model.testing import rheometer_flow
from homodyne_nlsq._coarse import _between


def test_between_frames_integrals_are_linear():
    model = rheometer_flow(2, 30).model
    rng = np.random.default_rng(1)
    integrals = rng.normal(size=(3, 30)).cumsum(axis=1)
    frames = np.arange(30)
    # Beyond the ends too, where an average of lags may put a node: the end counts.
    later, earlier = rng.uniform(-0.3, 29.3, (2, 4, 50))
    later[0, :3] = 0.0, 17.0, 29.0
    found = _between(model, jnp.asarray(later), jnp.asarray(earlier), jnp.asarray(integrals))
    expected = [np.interp(later, frames, v) - np.interp(earlier, frames, v) for v in integrals]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 if found.dtype == np.float32 else 1e-12)
    one = _between(model, jnp.asarray(later), jnp.asarray(earlier), jnp.asarray(integrals[1]))
    np.testing.assert_array_equal(one, found[1])
