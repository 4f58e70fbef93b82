"""One pass over the data against one plain evaluation of the model, and how the pass grows."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from measurement import alternating, machine, sheared_colloid

from homodyne_model import TwoTimeModel, normal_equations, testing


@partial(jax.jit, static_argnames="dtype")
def plain_c2(model: TwoTimeModel, physical, contrast, offset, dtype=np.float64):
    """C2 of the whole map as one writes it down: the exponential once a pair of frames, the sine once a point."""
    decay, strain = model.diffusion_integral(physical).value, model.shear_integral(physical).value
    diffusion = jnp.exp(-(model.q**2) * jnp.abs(decay[:, None] - decay[None, :]))
    x = model.shear_phase(physical).scale[:, None, None] * (strain[:, None] - strain[None, :])[None]
    small = jnp.abs(x) < 1e-6
    sinc = jnp.where(small, 1 - x * x / 6, jnp.sin(x) / jnp.where(small, 1, x))
    return (offset[:, None, None] + contrast[:, None, None] * diffusion[None] * sinc * sinc).astype(dtype)


def against_plain_evaluation() -> None:
    """Ratio of a pass to an evaluation, for several sizes."""
    print("\nA pass (normal equations of all parameters) against one evaluation of C2, 23 angles")
    print(f"{'frames':>8}{'evaluation [ms]':>18}{'pass [ms]':>12}{'ratio':>8}{'pass [ns/entry]':>18}")
    for n_t in (200, 500, 1000):
        data, _ = sheared_colloid(23, n_t)
        measurement = testing.rheometer_flow(23, n_t)
        model, physical = measurement.model, jnp.asarray(measurement.physical)
        c2, scaling = (
            jnp.asarray(data.c2),
            (jnp.asarray(measurement.contrast), jnp.asarray(measurement.offset)),
        )
        seconds = alternating(
            {
                "evaluation": lambda: plain_c2(model, physical, *scaling),  # noqa: B023
                "pass": lambda: normal_equations(model, physical, c2),  # noqa: B023
            }
        )
        ratio = seconds["pass"] / seconds["evaluation"]
        print(
            f"{n_t:>8}{1e3 * seconds['evaluation']:>18.1f}{1e3 * seconds['pass']:>12.1f}{ratio:>8.2f}"
            f"{1e9 * seconds['pass'] / c2.size:>18.2f}"
        )


def growth() -> None:
    """Seconds of a warm pass, from 4 to 92 million points."""
    print("\nGrowth of the warm pass, 23 angles")
    print(f"{'frames':>8}{'points':>14}{'pass [ms]':>12}{'time / 4 x fewer':>18}")
    before = None
    for n_t in (417, 500, 834, 1000, 1668, 2000):
        data, _ = sheared_colloid(23, n_t)
        measurement = testing.rheometer_flow(23, n_t)
        c2, physical = jnp.asarray(data.c2), jnp.asarray(measurement.physical)
        seconds = alternating({"pass": lambda: normal_equations(measurement.model, physical, c2)}, 7)["pass"]  # noqa: B023
        known = before or {}
        quarter = known.get(n_t // 2)
        print(
            f"{n_t:>8}{c2.size:>14,}{1e3 * seconds:>12.1f}{'' if quarter is None else f'{seconds / quarter:>18.2f}'}"
        )
        before = {**known, n_t: seconds}


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    print(machine())
    against_plain_evaluation()
    growth()
