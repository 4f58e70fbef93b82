"""Error bars against the scatter of a measurement: sectors of the detector that should show the same colloid at rest.

Four q of 11 sectors each. Every sector is fitted by itself with constant diffusion, and the error bar of ln D0 is set beside the standard deviation of
ln D0 over the sectors of its q. Errors are pooled by their median: at the largest q a sector or two determine next to nothing, and their error bars
would outweigh all the others.
"""

import numpy as np
import pytest

from homodyne_data import TwoTimeData, load_xpcs
from homodyne_nlsq import fit_nlsq_jax

FILE = "skbeam_c2_apsu_layout_results.hdf"
WAVEVECTORS = (0.0063, 0.0087, 0.0110, 0.0134)


def of_sectors(path, q):
    """Logarithm of D0 of every sector, its robust and its usual standard error, (3, n_sectors)."""
    found, data = [], load_xpcs(path, q=q)
    for a in range(data.n_phi):
        one = TwoTimeData(data.c2[a : a + 1], data.phi[a : a + 1], data.t, data.q, symmetric=True)
        fit = fit_nlsq_jax(one, {"fixed": {"alpha": 0.0, "D_offset": 0.0}})
        errors = [np.sqrt(fit.covariances[kind][2, 2]) / fit.physical["D0"] for kind in ("robust", "hessian")]
        found.append((np.log(fit.physical["D0"]), *errors))
    return np.array(found).T


def test_error_bars_are_the_scatter_between_equivalent_sectors(real_data, capsys):
    if not (path := real_data / FILE).exists():
        pytest.skip(f"no {FILE} in {real_data}")
    sectors = [of_sectors(path, q) for q in WAVEVECTORS]
    squares = sum(np.sum((values - values.mean()) ** 2) for values, _, _ in sectors)
    scatter = np.sqrt(squares / sum(len(values) - 1 for values, _, _ in sectors))
    robust, usual = (np.concatenate([one[k] for one in sectors]) for k in (1, 2))
    ratio, usual_ratio = np.median(robust) / scatter, np.median(usual) / scatter
    with capsys.disabled():
        print(f"\nscatter of ln D0 between sectors {scatter:.3f}")
        for q, (values, of_frames, of_points) in zip(WAVEVECTORS, sectors, strict=True):
            sd = values.std(ddof=1)
            print(
                f"q = {q:.4f} 1/Å: scatter {sd:.3f}, median robust error / scatter {np.median(of_frames) / sd:.2f}, usual {np.median(of_points) / sd:.2f}"
            )
        print(
            f"pooled: median robust error / scatter {ratio:.2f} (root mean square {np.sqrt(np.mean(robust**2)) / scatter:.2f}), "
            f"usual {usual_ratio:.2f}"
        )
    assert 0.6 < ratio < 1.6
    # Entries that share photons and speckles, taken for independent.
    assert 0.2 < usual_ratio < 0.5
