import jax
import numpy as np
import pytest

from homodyne_model.testing import colloid, rheometer_flow


@pytest.mark.parametrize(
    "made", [rheometer_flow(3, 12), rheometer_flow(3, 12, shear_kernel="homodyne2"), colloid(2, 12)]
)
def test_a_measurement_fits_together(made):
    model, physical, contrast, offset = made
    assert len(contrast) == len(offset) == model.n_phi
    contrasts, offsets, rest = model.layout.split(made.parameters)
    np.testing.assert_array_equal(contrasts, contrast)
    np.testing.assert_array_equal(offsets, offset)
    np.testing.assert_array_equal(rest, physical)
    c2 = made.maps()
    assert c2.shape == (model.n_phi, 12, 12)
    np.testing.assert_allclose(c2[:, range(12), range(12)].T, np.tile(contrast + offset, (12, 1)), rtol=1e-14)


def test_maps_are_double_precision_in_any_process():
    expected = colloid(2, 12).maps()
    with jax.enable_x64(False):
        found = colloid(2, 12).maps()
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, expected)


def test_noise_is_seeded_symmetric_and_of_the_size_asked_for():
    made = colloid(3, 60)
    noisy = made.noisy_maps(0.1, seed=4)
    np.testing.assert_array_equal(noisy, made.noisy_maps(0.1, seed=4))
    assert (noisy != made.noisy_maps(0.1, seed=5)).any()
    np.testing.assert_allclose(noisy, np.swapaxes(noisy, 1, 2), rtol=0, atol=1e-15)
    lower = np.tri(60, k=-1, dtype=bool)
    assert np.std((noisy - made.maps())[:, lower]) == pytest.approx(0.1, rel=0.05)


def test_the_numbers_are_realistic():
    """Both decays are seen within the window and resolved by the frames."""
    flow = rheometer_flow()
    model = flow.model
    f = (flow.maps() - flow.offset[:, None, None]) / flow.contrast[:, None, None]
    along, across = (np.argmin(np.abs((model.phi - 2 + 90) % 180 - 90 - angle)) for angle in (0, 90))
    assert f[across, 100, 99] > 0.9
    assert f[along, -1, 0] < 0.01
    assert f[along, 120, 80] < 0.3 * f[across, 120, 80]
    rate = np.abs(np.diff(np.asarray(model.shear_integral(flow.physical).value))) * 0.0054 * 2e6 / 2
    assert 0.05 < rate.min() < rate.max() < 1
    still = colloid()
    g = (still.maps()[0] - still.offset[0]) / still.contrast[0]
    assert g[-1, -2] > 0.9
    assert g[-1, 0] < 0.1
