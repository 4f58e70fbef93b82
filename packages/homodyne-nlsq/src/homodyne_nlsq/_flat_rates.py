"""Bands of rates that show no dependence on age.

Where a rate is constant, its exponent means nothing: the fit takes the one of all shapes t^p that agrees best with the noise, at times at the end of
its range. Error bars that take this shape for given are too narrow (a parameter that exists under the alternative only: Davies, Biometrika 64 (1977)
247). So the band is that of a rate with three free shapes, constant, t^(1/2) and its derivative by the exponent: the columns of the model at a
constant rate with a vanishing power law. The curve itself stays the fitted one.
"""

from dataclasses import replace

import numpy as np

from homodyne_degeneracy import FlatRate
from homodyne_nlsq._curves import Curve, transport_curves
from homodyne_nlsq._error_bars import error_bars, noise_of
from homodyne_nlsq._problem import Problem
from homodyne_nlsq._solve import Evaluation

_SHAPE = 0.5
# Share of the power law in the rate: small, so that the rate is constant, and far above rounding.
_SHARE = 1e-3


def with_free_shapes(
    curves: tuple[Curve, Curve | None],
    flat: tuple[FlatRate, ...],
    problem: Problem,
    at: Evaluation,
    fixed,
    free,
    dof: int,
    covariance_type: str,
) -> tuple[Curve, Curve | None]:
    """Curves with the bands of flat rates replaced.

    Parameters
    ----------
    curves : tuple of Curve
        D(t) and the shear rate, as fitted.
    flat : tuple of FlatRate
        Rates without a dependence on age.
    problem : Problem
        With everything that is frozen in it.
    at : Evaluation
        The solution.
    fixed, free : (n_physical,) bool
        Parameters that the user held, and those that are not held and not at a bound.
    dof : int
        Degrees of freedom.
    covariance_type : {"robust", "hessian"}
        Which error bars are quoted.
    """
    model, names = problem.model, problem.model.layout.physical_names
    groups = [[names.index(n) for n in (rate.amplitude, rate.exponent, rate.offset)] for rate in flat]
    # With the exponent held the two shapes that are left are given.
    groups = [group for group in groups if not fixed[group[1]]]
    if not groups:
        return curves
    constant, varies = at.physical.copy(), np.array(free)
    for amplitude, exponent, offset in groups:
        rate = constant[amplitude] * model.t_middle ** constant[exponent] + constant[offset]
        constant[exponent] = _SHAPE
        constant[amplitude] = _SHARE * rate * model.t_middle**-_SHAPE
        constant[offset] = (1 - _SHARE) * rate
        for k in (amplitude, exponent, offset):
            varies[k] = not fixed[k]
    gram = problem.gram(constant)
    there = Evaluation(constant, gram, problem.compress(gram))
    noise = noise_of(problem, there, dof)
    bars = error_bars(problem, there, varies, noise)
    chosen = bars.robust if covariance_type == "robust" else bars.hessian
    plain = replace(problem, penalty=None).compress_at(noise.gram, there.fit)
    bands = transport_curves(model, constant, chosen.determined, plain.hessian, varies)
    is_flat = {group[0] for group in groups}
    return tuple(
        replace(curve, error=band.error) if first in is_flat else curve
        for first, curve, band in zip((0, 3), curves, bands, strict=True)
    )
