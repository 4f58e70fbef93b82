"""Plots: what they show is checked against the result, number by number."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.integrate import quad

pytest.importorskip("matplotlib", reason="plots need the extra homodyne-cmc[plots]")

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.path import Path as Outline

from homodyne_cmc import CMCResult, Prior, fit_mcmc_jax, plots
from homodyne_cmc.plots._labels import ParameterAxis, number
from homodyne_cmc.plots._prior import prior_density
from homodyne_cmc.plots._shards import shown_shards
from homodyne_model import PARAMETERS

ALL = [name for name in plots.__all__ if name != "figures"]


@pytest.fixture(scope="module")
def flowing(flow, flow_data, warm):
    """Laminar flow of too few frames: not certified."""
    covariance = np.diag((0.05 * flow.physical) ** 2)
    start = warm(flow) | {"covariances": {"hessian": covariance, "robust": 4 * covariance}}
    settings = {
        "analysis_mode": "laminar_flow",
        "method": "laplace",
        "bounds": {"beta": (-0.6, 0.1)},
        "priors": {"alpha": {"type": "Normal", "mu": -1.3, "sigma": 0.1}},
    }
    return fit_mcmc_jax(flow_data, settings, start)


@pytest.fixture(scope="module")
def failed(rest, rest_data, warm):
    return fit_mcmc_jax(rest_data, {"method": "laplace", "bounds": {"contrast": (0.9, 1.0)}}, warm(rest))


@pytest.fixture
def changed():
    """A result with some groups, or its status, replaced."""

    def change(result, *, status=None, **groups):
        tree = result.tree.copy(deep=True)
        if status is not None:
            tree.attrs["status"] = status
        for name, dataset in groups.items():
            tree[name] = type(tree)(dataset)
        return CMCResult(tree)

    return change


def pixels(figure):
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(40)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def drawn(result, name):
    """The figure, laid out, which fails where something does not fit."""
    figure = getattr(plots, name)(result)
    pixels(figure)
    return figure


def texts_of(figure):
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def lines_of(panel, marker=None):
    return [line for line in panel.lines if marker is None or line.get_marker() == marker]


@pytest.mark.parametrize("name", ALL)
def test_a_saved_result_draws_the_same_figures(rest_result, name, tmp_path):
    loaded = CMCResult.load(rest_result.save(tmp_path / "result.nc"))
    one, other = (pixels(getattr(plots, name)(result)) for result in (rest_result, loaded))
    np.testing.assert_array_equal(one, other)
    assert one[..., :3].std() > 5  # it is not blank


@pytest.mark.parametrize("name", ALL)
def test_headings_and_finite_values(rest_result, name):
    figure = drawn(rest_result, name)
    assert "0.0054 Å$^{-1}$" in figure.get_suptitle()
    assert "method cmc, 4 shards" in figure.get_suptitle()
    assert "CERTIFIED" not in figure.get_suptitle()
    for line in figure.findobj(matplotlib.lines.Line2D):
        assert np.isfinite(np.asarray(line.get_xydata(), dtype=float)).all()
    for collection in figure.findobj(matplotlib.collections.LineCollection):
        assert all(np.isfinite(segment).all() for segment in collection.get_segments())


def test_what_a_result_has_material_for(rest_result, flowing, failed, changed):
    assert [name for name, _ in plots.figures(rest_result)] == [
        "forest",
        "pair",
        "prior_posterior",
        "predictive_cuts",
        "rates",
        "shard_trace",
        "shard_rank",
        "certificate",
    ]
    assert {name for name, _ in plots.figures(flowing)} == set(ALL) - {"shard_trace", "shard_rank"}
    assert list(plots.figures(failed)) == []
    _, draw = next(plots.figures(rest_result))
    assert draw().get_suptitle() == plots.forest(rest_result).get_suptitle()
    sampled = changed(failed, shards=rest_result.tree["shards"].dataset)
    assert [name for name, _ in plots.figures(sampled)] == ["shard_trace", "shard_rank"]
    assert "FAILED" in plots.shard_trace(sampled).get_suptitle()


@pytest.mark.parametrize("name", ALL)
def test_a_plot_without_material_is_refused_in_words(failed, name):
    with pytest.raises(ValueError, match=r"failed|method 'laplace' sampled none"):
        getattr(plots, name)(failed)


def test_a_result_that_is_not_certified_says_so(flowing, changed):
    for name, draw in plots.figures(changed(flowing, status="not certified")):
        assert "NOT CERTIFIED" in draw().get_suptitle(), name


def test_no_display_no_pyplot_and_no_settings(rest_result, tmp_path):
    """In a process of its own, whose backend would need a display."""
    path = rest_result.save(tmp_path / "result.nc")
    done = subprocess.run(
        [sys.executable, "-c", DRAW_ALL, str(path)],
        env={**os.environ, "MPLBACKEND": "TkAgg", "DISPLAY": ""},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "8\n"), done.stderr


DRAW_ALL = """
import sys
import matplotlib
before = dict(matplotlib.rcParams)
from homodyne_cmc import CMCResult, plots
result = CMCResult.load(sys.argv[1])
made = [draw() for _, draw in plots.figures(result)]
assert dict(matplotlib.rcParams) == before
assert "matplotlib.pyplot" not in sys.modules
made[0].savefig(sys.argv[1] + ".png")
print(len(made))
"""


def test_settings_of_the_caller_are_respected(rest_result):
    with matplotlib.rc_context({"font.size": 17, "axes.spines.top": False}):
        figure = plots.forest(rest_result)
    assert figure.axes[0].xaxis.get_label().get_fontsize() == 17
    assert not figure.axes[0].spines["top"].get_visible()


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "homodyne_cmc.plots")
    with pytest.raises(ImportError, match=r"homodyne-cmc\[plots\]"):
        import homodyne_cmc.plots  # noqa: F401


def test_forest_shows_intervals_of_posterior_fit_and_consensus(flowing, rest_result):
    figure = drawn(flowing, "forest")
    assert len(figure.axes) == 7 + 2
    for panel, name in zip(figure.axes, flowing.physical_names, strict=False):
        power = ParameterAxis.of(name, flowing.posterior[name].values).power
        assert PARAMETERS[name].latex in panel.get_ylabel()
        if PARAMETERS[name].unit == "1/s":
            assert "s$^{-1}$" in panel.get_ylabel()
        wide, narrow = (segments.get_segments()[0][:, 0] for segments in panel.collections[:2])
        expected = flowing.quantiles(name, (0.025, 0.975, 0.16, 0.84)) / 10.0**power
        np.testing.assert_allclose([*wide, *narrow], expected)
        fit, robust = panel.containers
        value, sd = (float(flowing.tree["warm_start"][key].sel(parameter=name)) for key in ("value", "sd"))
        assert fit.lines[0].get_xdata() == pytest.approx([value / 10.0**power])
        for bars, factor in ((fit, 1), (robust, 2)):
            ends = bars.lines[2][0].get_segments()[0][:, 0]
            np.testing.assert_allclose(np.ptp(ends), 2 * factor * sd / 10.0**power)
    contrast = figure.axes[7].lines[0]
    np.testing.assert_allclose(contrast.get_xdata(), flowing.posterior["phi"])
    np.testing.assert_allclose(contrast.get_ydata(), flowing.posterior["contrast"].mean(("chain", "draw")))
    assert figure.axes[8].get_xlabel() == "φ [°]"
    words = texts_of(plots.forest(rest_result))
    assert "consensus of the shards, middle 68 %" in words
    assert "fit, without an error" in words
    assert "fit ± robust sd" not in words


def test_forest_shows_the_widened_posterior_where_there_is_one(flowing, changed):
    wide = flowing.posterior[list(flowing.physical_names)]
    center = wide.mean("draw")
    wide = (center + 3 * (wide - center)).assign_attrs(status="not certified")
    # One direction in two images is one direction.
    wide["phi0"][0, ::2] += 180.0
    figure = drawn(changed(flowing, posterior_robust=wide), "forest")
    for panel in figure.axes[:7]:
        own, robust = (np.ptp(panel.collections[k].get_segments()[0][:, 0]) for k in (0, 2))
        assert robust == pytest.approx(3 * own, rel=1e-6)
    assert "widened to the robust errors (NOT CERTIFIED)" in texts_of(figure)
    nothing = changed(flowing, posterior_robust=wide.isel(draw=slice(0, 0)))
    assert "widened" not in " ".join(texts_of(drawn(nothing, "forest")))


def test_the_direction_of_the_fit_is_shown_at_the_nearest_image(flowing, changed):
    moved = flowing.tree["warm_start"].dataset.copy(deep=True)
    moved["value"].loc[{"parameter": "phi0"}] += 180.0
    one, other = (drawn(result, "forest").axes[6] for result in (flowing, changed(flowing, warm_start=moved)))
    assert other.containers[0].lines[0].get_xdata() == pytest.approx(one.containers[0].lines[0].get_xdata())


@pytest.mark.parametrize("which", ["rest_result", "flowing"])
def test_pair_contours_hold_68_and_95_percent(request, which):
    result = request.getfixturevalue(which)
    figure = drawn(result, "pair")
    names = result.physical_names
    panels = np.array(figure.axes).reshape(len(names), len(names))
    drawn_contours = 0
    for i, below in enumerate(names):
        for j, left in enumerate(names):
            x, y = (result.posterior[name].values[0] for name in (left, below))
            if j > i:
                assert float(panels[i, j].texts[0].get_text().replace("−", "-")) == pytest.approx(
                    np.corrcoef(x, y)[0, 1], abs=0.0051
                )
            elif i == j:
                heights = [bar.get_height() for bar in panels[i, j].patches]
                assert 0.95 * len(x) <= sum(heights) <= len(x)
            else:
                points = panels[i, j].lines[0].get_xydata()
                assert len(points) == len(x)
                contours = panels[i, j].collections[0]
                shares = []
                for outline in contours.get_paths():
                    rings = [Outline(ring) for ring in outline.to_polygons()]
                    # Of nested rings the inner one is a hole.
                    inside = np.sum([ring.contains_points(points) for ring in rings], axis=0) % 2 == 1
                    shares.append(inside.mean())
                np.testing.assert_allclose(shares, [0.95, 0.68], atol=0.03)
                drawn_contours += 1
    assert drawn_contours == len(names) * (len(names) - 1) / 2
    labels = [panel.get_xlabel() for panel in panels[-1]]
    assert labels[0].endswith("Å$^2$ s$^{-1}$]")
    fit = result.tree["warm_start"]["value"].sel(parameter="alpha")
    assert any(np.allclose(line.get_xdata(), fit) for line in panels[1, 1].lines)


def test_what_is_held_is_not_drawn(rest_result, changed):
    """One free parameter: every plot still has what it shows."""
    alone = changed(rest_result)
    alone.tree.attrs["settings"] = json.dumps(
        alone.settings | {"fixed": {"alpha": -0.45, "D_offset": 1710.0}}
    )
    for name, draw in plots.figures(alone):
        figure = draw()
        figure.canvas.draw()
        if name in ("forest", "pair", "prior_posterior"):
            assert not any("alpha" in text or "offset}" in text for text in texts_of(figure)), name
    assert len(drawn(alone, "pair").axes) == 1


def test_a_fit_far_away_is_named_instead_of_drawn(rest_result, changed):
    start = rest_result.tree["warm_start"].dataset.copy(deep=True)
    start["value"].loc[{"parameter": "alpha"}] = 1.0
    figure = drawn(changed(rest_result, warm_start=start), "pair")
    assert any("outside: $\\alpha$" in text for text in texts_of(figure))


def test_repeated_draws_have_no_contours(rest_result, changed):
    few = rest_result.posterior.isel(draw=np.repeat([0, 1, 2], 50)).assign_coords(draw=np.arange(150))
    result = changed(rest_result, posterior=few)
    assert not drawn(result, "pair").axes[3].collections
    for name in ("forest", "prior_posterior", "rates"):
        drawn(result, name)


@pytest.mark.parametrize(
    "prior, lower, upper",
    [
        (Prior(), -2.0, 3.0),
        (Prior("Normal", 1.0, 2.0), -2.0, 3.0),
        (Prior("TruncatedNormal", 4.0, 0.5), -2.0, 3.0),
        (Prior("HalfNormal", sigma=2.0), -2.0, 3.0),
        (Prior("LogNormal", 0.5, 1.0), -2.0, 3.0),
    ],
)
def test_prior_densities_are_cut_and_normalised(prior, lower, upper):
    value = lambda x: float(prior_density(prior, lower, upper, np.array([x]))[0])  # noqa: E731
    assert quad(value, max(lower, prior.least), upper)[0] == pytest.approx(1.0, abs=1e-6)
    if prior.type == "LogNormal":
        assert value(2.0) / value(1.0) == pytest.approx(
            0.5 * np.exp(-0.5 * ((np.log(2) - 0.5) ** 2 - 0.25)), rel=1e-10
        )


def test_prior_and_posterior_with_the_bounds_that_are_near(flowing):
    figure = drawn(flowing, "prior_posterior")
    for panel, name in zip(figure.axes, flowing.physical_names, strict=False):
        stairs = next(patch for patch in panel.patches if hasattr(patch, "get_data"))
        values, edges, _ = stairs.get_data()
        assert values.max() == pytest.approx(1.0)
        power = 10.0 ** ParameterAxis.of(name, flowing.posterior[name].values).power
        drawn_values = flowing.values(name) / power
        inside = (drawn_values >= edges[0] - 1e-12) & (drawn_values <= edges[-1] + 1e-12)
        # A heavy tail is left out, the middle 95 % never.
        assert inside.mean() >= 0.95
        assert edges[-1] - edges[0] <= 4.001 * np.ptp(np.quantile(drawn_values, (0.025, 0.975)))
        lower, upper = flowing.settings["bounds"].get(name, (PARAMETERS[name].lower, PARAMETERS[name].upper))
        left, right = panel.get_xlim()
        bounds = [line.get_xdata()[0] for line in lines_of(panel) if line.get_linestyle() == "--"]
        near = [bound / power for bound in (lower, upper) if left <= bound / power <= right]
        np.testing.assert_allclose(bounds, near)
    # The prior of alpha is a normal density in units of the posterior's peak.
    alpha = figure.axes[1]
    x, y = alpha.lines[0].get_xydata().T
    values = flowing.posterior["alpha"].values
    peak = np.histogram(values, 40, density=True)[0].max()
    expected = np.exp(-0.5 * ((x + 1.3) / 0.1) ** 2) / (0.1 * np.sqrt(2 * np.pi)) / peak
    np.testing.assert_allclose(y, expected, rtol=1e-3)
    assert any("bounds −0.6 to 0.1" in panel.get_title() for panel in figure.axes)


def test_predictive_cuts_show_averages_errors_and_residuals(rest_result):
    figure = drawn(rest_result, "predictive_cuts")
    assert len(figure.axes) == 2 * 3
    observed = rest_result.tree["observed_data"]
    median = np.median(rest_result.tree["posterior_predictive"]["c2"].values[0], axis=0)
    for angle in range(3):
        cut, residual = figure.axes[2 * angle : 2 * angle + 2]
        assert len(cut.containers) == 3
        for window, bars in enumerate(cut.containers):
            c2, error, count, lag = (
                observed[name].values[(angle, window) if name != "lag" else window]
                for name in ("c2", "standard_error", "count", "lag")
            )
            known = count > 0
            np.testing.assert_allclose(bars.lines[0].get_xydata(), np.stack([lag, c2], 1)[known])
            segments = np.array(bars.lines[2][0].get_segments())
            np.testing.assert_allclose(np.ptp(segments[..., 1], axis=1), 2 * error[known])
            found = lines_of(residual, ".")[window].get_ydata()
            np.testing.assert_allclose(found, ((c2 - median[angle, window]) / error)[known])
            low, high = residual.get_ylim()
            assert ((found > low) & (found < high)).all()
    assert figure.axes[-1].get_xlabel() == "lag [s]"
    assert figure.axes[1].get_ylabel() == "residual\n[s.e.]"
    assert "of 3 angles" not in figure.get_suptitle()


def test_of_many_angles_an_even_choice_is_shown(rest_result, changed):
    many = np.arange(23) % 3
    groups = {
        name: rest_result.tree[name].dataset.isel(angle=many).assign_coords(phi=("angle", np.arange(23.0)))
        for name in ("observed_data", "posterior_predictive")
    }
    figure = drawn(changed(rest_result, **groups), "predictive_cuts")
    assert len(figure.axes) == 2 * 12
    assert "12 of 23 angles" in figure.get_suptitle()
    assert [panel.get_title() for panel in figure.axes[::2]] == [
        f"φ = {k}°" for k in (0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22)
    ]


def test_an_angle_without_points_is_empty(rest_result, changed):
    observed = rest_result.tree["observed_data"].dataset.copy(deep=True)
    for name in ("c2", "standard_error"):
        observed[name][1] = np.nan
    figure = drawn(changed(rest_result, observed_data=observed), "predictive_cuts")
    assert sum(len(bars.lines[0].get_xdata()) for bars in figure.axes[2].containers) == 0


def test_rates_are_those_of_the_draws(flowing):
    figure = drawn(flowing, "rates")
    panels = np.array(figure.axes).reshape(2, 2)
    for above, below, names in zip(
        *panels,
        (("D0", "alpha", "D_offset"), ("gamma_dot_t0", "beta", "gamma_dot_t_offset")),
        strict=True,
    ):
        ages, median = above.lines[0].get_xydata().T
        size, exponent, offset = (flowing.posterior[name].values[0][:, None] for name in names)
        # Frames are 0.1 s apart and begin at 0, where the rate is that at half a frame.
        assert (ages[0], ages[-1]) == (pytest.approx(0.05), pytest.approx(3.9))
        curves = size * ages**exponent + offset
        np.testing.assert_allclose(median, np.median(curves, axis=0), rtol=1e-9)
        band = above.collections[0].get_paths()[0].get_extents()
        low, high = np.quantile(curves, (0.025, 0.975), axis=0)
        assert (band.y0, band.y1) == (pytest.approx(low.min()), pytest.approx(high.max()))
        fit = flowing.tree["warm_start"]["value"].sel(parameter=list(names)).values
        dashed = next(line for line in above.lines if line.get_linestyle() == "--")
        np.testing.assert_allclose(dashed.get_ydata(), fit[0] * ages ** fit[1] + fit[2], rtol=1e-9)
        assert below.get_ylabel().endswith("[%]")
    assert panels[0, 0].get_ylabel() == "$D(t)$ [Å$^2$ s$^{-1}$]"
    assert panels[0, 1].get_ylabel() == "$\\dot\\gamma(t)$ [s$^{-1}$]"
    assert panels[1, 0].get_xlabel() == "age $t$ [s]"


def test_rates_below_zero_are_on_the_axis(rest_result, changed):
    posterior = rest_result.posterior
    low = posterior.assign(D_offset=posterior["D_offset"] - 1e4)
    above, below = drawn(changed(rest_result, posterior=low), "rates").axes
    assert above.get_yscale() == "symlog"
    assert above.lines[0].get_ydata().min() < 0
    assert below.get_ylabel() == "− median [Å$^2$ s$^{-1}$]"
    assert drawn(rest_result, "rates").axes[0].get_yscale() == "log"


def test_traces_are_the_draws_of_the_shards_with_those_that_diverged(rest_result, changed):
    shards = rest_result.tree["shards"].dataset.copy(deep=True)
    shards["diverging"][1, 2, 5:8] = True
    figure = drawn(changed(rest_result, shards=shards), "shard_trace")
    panels = np.array(figure.axes).reshape(3, 4)
    for c in range(3):
        for k in range(4):
            chains = [line.get_ydata() for line in lines_of(panels[c, k], "None")]
            np.testing.assert_array_equal(chains, shards["z"].values[k, ..., c])
            marked = np.concatenate([line.get_xdata() for line in lines_of(panels[c, k], "x")])
            assert marked.tolist() == ([5, 6, 7] if k == 1 else [])
    assert any("3 of 4000 draws" in text for text in texts_of(figure))


def test_ranks_show_a_chain_that_is_elsewhere(rest_result, changed):
    shards = rest_result.tree["shards"].dataset.copy(deep=True)
    shards["z"][2, 0, :, 1] += 100.0
    panels = np.array(drawn(changed(rest_result, shards=shards), "shard_rank").axes).reshape(3, 4)

    def heights(c, k):
        """Histograms of the chains, without their base, which is where they stand."""
        steps = [patch for patch in panels[c, k].patches if hasattr(patch, "get_data")]
        return np.array([step.get_data().values - step.get_data().baseline for step in steps])

    assert heights(0, 0).shape == (4, 20)
    for c in range(3):
        for k in range(4):
            np.testing.assert_allclose(heights(c, k).mean(1), 1.0)
    away = heights(1, 2)[0]
    np.testing.assert_allclose(away, np.r_[np.zeros(15), np.full(5, 4.0)])
    # Chains that agree are flat to the noise of 12.5 draws a bin.
    assert np.abs(heights(0, 0) - 1).max() < 1.3


def test_of_many_shards_some_are_shown_and_the_worst_among_them(rest_result, changed):
    r_hat = np.full((100, 3), 1.001)
    r_hat[41, 2] = 1.2
    shown = shown_shards(r_hat)
    assert shown.tolist() == [0, 41, 66, 99]
    assert shown_shards(r_hat[:3]).tolist() == [0, 1, 2]
    shards = rest_result.tree["shards"].dataset.isel(shard=np.arange(100) % 4)
    shards = shards.assign_coords(shard=np.arange(100)).assign(r_hat=(("shard", "coordinate"), r_hat))
    for name in ("shard_trace", "shard_rank"):
        figure = drawn(changed(rest_result, shards=shards), name)
        assert "4 of them shown" in figure.get_suptitle()
        panels = np.array(figure.axes).reshape(3, 5)
        assert "shard 41, R-hat 1.200" in panels[0, 2].get_title()
        if name == "shard_rank":
            np.testing.assert_allclose(panels[2, 0].lines[0].get_ydata(), r_hat[:, 2])
        else:
            means = panels[1, 0].containers[0].lines[0].get_ydata()
            np.testing.assert_allclose(means, shards["z"].values[..., 1].mean((1, 2)))


def test_certificate_shows_weights_and_rounds(flowing, rest_result):
    for result in (flowing, rest_result):
        weights, *rounds = drawn(result, "certificate").axes
        weight = np.exp(result.tree["certificate"]["log_weight"].values)
        weight = weight[weight > 0]
        relative, share = weights.lines[0].get_xydata().T
        assert relative.mean() == pytest.approx(1.0)
        # Half of the draws have at least the median weight.
        assert share[np.argmin(np.abs(relative - np.median(weight) / weight.mean()))] == pytest.approx(
            0.5, abs=0.01
        )
        for panel, name in zip(rounds, ("k_hat", "ess", "moved"), strict=True):
            values = result.tree["certificate"][name].values
            limit, found = panel.lines[:2]
            np.testing.assert_allclose(found.get_ydata(), values[np.isfinite(values)])
            low, high = panel.get_ylim()
            assert low <= found.get_ydata().min(initial=high)
            assert high >= limit.get_ydata()[0]


@pytest.mark.parametrize(
    "value, text",
    [
        (0.5, "0.5"),
        (-2.0, "−2"),
        (1e9, "$10^{9}$"),
        (-1e5, "$-10^{5}$"),
        (5.43e5, r"$5.43 \times 10^{5}$"),
        (np.inf, "∞"),
    ],
)
def test_numbers(value, text):
    assert number(value) == text
