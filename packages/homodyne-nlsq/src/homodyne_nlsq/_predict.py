"""Maps predicted by a result, angle by angle so that no float64 array of their size is made."""

import jax
import jax.numpy as jnp
import numpy as np

from homodyne_model import TwoTimeModel, map_c2

_map = jax.jit(map_c2)


def predicted_maps(result) -> np.ndarray:
    """Fitted C2, (n_phi, n_t, n_t) float32."""
    n_t = len(result.t)
    maps = np.empty((result.n_phi, n_t, n_t), dtype=np.float32)
    physical = result.parameters[2 * result.n_phi :]
    with jax.enable_x64(True):
        for a, phi in enumerate(result.phi):
            model = TwoTimeModel(
                result.analysis_mode,
                result.q,
                result.t,
                [phi],
                result.L,
                result.shear_kernel,
                result.quadrature,
            )
            scaling = (jnp.asarray(values[a : a + 1]) for values in (result.contrast, result.offset))
            maps[a] = _map(model, jnp.asarray(physical), *scaling)[0]
    return maps
