"""Layer 4: gradients against explicit residuals, when the monitor speaks, and when it must not."""

import numpy as np
import pytest

from homodyne_degeneracy import (
    AntiDegeneracyController,
    GradientCollapseMonitor,
    GradientMonitoringConfig,
    HierarchicalConfig,
    HierarchicalOptimizer,
    MonitorAction,
    gradient_norms,
)
from homodyne_model import ScalingBasis, compress


@pytest.mark.parametrize("mode", ["individual", "fourier", "constant"])
def test_gradients_are_cosines_between_residual_and_columns(points, mode):
    phi, data = points(7, contrast=0.3 + 0.02 * np.arange(7), sigma=0.02)
    basis = ScalingBasis(mode).matrix(phi)
    contrast, offset = np.full(7, 0.25), np.full(7, 1.12)
    physical = [0.2, -0.1]
    residual = data.residual(physical, contrast, offset)
    columns = data.columns(physical, contrast, basis)
    cosines = columns.T @ residual / np.linalg.norm(columns, axis=0) / np.linalg.norm(residual)
    found = gradient_norms(data.gram(physical), contrast, offset, basis=basis)
    expected = np.linalg.norm(cosines[-2:]), np.linalg.norm(cosines[:-2])
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    some = gradient_norms(data.gram(physical), contrast, offset, basis=basis, free_physical=[False, True])
    np.testing.assert_allclose(some, (abs(cosines[-1]), expected[1]), rtol=1e-9)


def test_held_scaling_takes_no_part(points):
    _, data = points(4, sigma=0.02)
    contrast, offset = np.full(4, 0.25), np.full(4, 1.12)
    residual, columns = data.residual([0, 0], contrast, offset), data.columns([0, 0], contrast)
    cosines = columns.T @ residual / np.linalg.norm(columns, axis=0) / np.linalg.norm(residual)
    free = np.array([[True, False], [False, False], [True, True], [True, True]])
    _, found = gradient_norms(data.gram([0, 0]), contrast, offset, free_scaling=free)
    assert found == pytest.approx(np.linalg.norm(cosines[:8][free.T.ravel()]), rel=1e-9)


def test_after_the_elimination_the_scaling_has_no_gradient(points):
    """Why the ratio is taken before: afterwards it is infinite or rounding, whatever the fit does."""
    _, data = points(5, sigma=0.02)
    gram = data.gram([0.3, 0.1])
    fit = compress(gram)
    physical, scaling = gradient_norms(gram, fit.contrast, fit.offset)
    assert physical > 1e-3
    assert scaling < 1e-9


def collapsed(points):
    """Gram matrices at the physical parameters that are best for a wrong scaling: only the scaling wants to move."""
    _, data = points(6, sigma=0.01, contrast=0.3)
    wrong = np.linspace(0.2, 0.4, 6)
    physical = np.zeros(2)
    for _ in range(30):
        columns = data.columns(physical, wrong)[:, -2:]
        physical = physical - np.linalg.lstsq(columns, data.residual(physical, wrong, np.full(6, 1.1)))[0]
    return data.gram(physical), wrong, np.full(6, 1.1)


@pytest.mark.parametrize("response", ["warn", "hierarchical", "reset", "abort"])
@pytest.mark.parametrize("needed", [1, 5])
def test_the_response_comes_after_enough_iterations_in_a_row(points, response, needed):
    here = collapsed(points)
    healthy = points(6, sigma=0.01)[1].gram([0.3, 0.2]), *here[1:]
    monitor = GradientCollapseMonitor(
        GradientMonitoringConfig(consecutive_triggers=needed, response=response)
    )
    for _ in range(needed - 1):
        assert monitor.observe(*here).action is MonitorAction.NONE
    interrupted = monitor.observe(*healthy)
    assert interrupted.consecutive == 0
    assert interrupted.ratio > 0.01
    for k in range(needed - 1):
        report = monitor.observe(*here)
        assert (report.action, report.consecutive, report.sentence) == (MonitorAction.NONE, k + 1, "")
    report = monitor.observe(*here)
    assert report.action == response
    assert report.consecutive == needed
    assert report.ratio < 0.01
    deed = {
        "warn": "the fit goes on",
        "hierarchical": "in stages",
        "reset": "starts again",
        "abort": "the fit ends",
    }
    assert deed[response] in report.sentence
    assert f"for {needed} iterations" in report.sentence
    # It has been said; the count starts again.
    assert monitor.observe(*here).consecutive == (1 if needed > 1 else needed)


def test_the_threshold_decides(points):
    here = collapsed(points)
    ratio = GradientCollapseMonitor().observe(*here).ratio
    assert 0 < ratio < 1e-6
    for threshold, counted in ((ratio * 0.5, 0), (ratio * 2, 1)):
        monitor = GradientCollapseMonitor(GradientMonitoringConfig(ratio_threshold=threshold))
        assert monitor.observe(*here).consecutive == counted


def test_at_an_optimum_the_ratio_says_nothing(points):
    """Both gradients are rounding there: however small one is beside the other, nothing has collapsed."""
    _, data = points(5, sigma=0.02)
    physical = np.zeros(2)
    for _ in range(40):
        fit = compress(data.gram(physical))
        physical = physical - np.linalg.solve(fit.hessian, fit.gradient)
    monitor = GradientCollapseMonitor(GradientMonitoringConfig(ratio_threshold=1e12, consecutive_triggers=1))
    fit = compress(data.gram(physical))
    assert monitor.observe(data.gram(physical), fit.contrast, fit.offset).action is MonitorAction.NONE
    nothing = monitor.observe(np.zeros((5, 5, 5)), fit.contrast, fit.offset)
    assert np.isnan(nothing.ratio)
    assert nothing.action is MonitorAction.NONE


def test_a_fit_with_eliminated_scaling_never_collapses(points):
    _, data = points(8, sigma=0.02)
    monitor = GradientCollapseMonitor(GradientMonitoringConfig(consecutive_triggers=1))
    physical, fit = np.array([0.5, -0.3]), compress(data.gram([0.5, -0.3]))
    for _ in range(15):
        physical = physical - np.linalg.solve(fit.hessian, fit.gradient)
        report = monitor.observe(data.gram(physical), fit.contrast, fit.offset)
        assert report.action is MonitorAction.NONE
        fit = compress(data.gram(physical))


def test_the_controller_keeps_what_the_monitor_says(points):
    controller = AntiDegeneracyController(
        {"gradient_monitoring": {"consecutive_triggers": 1}}, analysis_mode="laminar_flow", phi=np.arange(6.0)
    )
    report = controller.observe(*collapsed(points))
    assert report.sentence
    assert controller.sentences[-1] == report.sentence
    off = AntiDegeneracyController(
        {"gradient_monitoring": {"enable": False}}, analysis_mode="laminar_flow", phi=np.arange(6.0)
    )
    assert off.monitor is None
    assert off.observe(*collapsed(points)) is None


def test_stages_end_the_collapse(points):
    """What the response ``hierarchical`` leads to: the scaling moves, the physics follows, and both come to rest."""
    _, data = points(6, sigma=0.01, apart=True)
    found = HierarchicalOptimizer(HierarchicalConfig(max_outer_iterations=100)).minimise(
        data.gram, [0.5, 0.5]
    )
    physical, scaling = gradient_norms(data.gram(found.physical), found.fit.contrast, found.fit.offset)
    assert physical < 1e-6
    assert scaling < 1e-6
