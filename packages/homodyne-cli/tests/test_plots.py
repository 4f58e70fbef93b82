import dataclasses
import zlib

import numpy as np
import pytest

from homodyne_cli import _plot_cuts, _plot_maps, _plots
from homodyne_cli._angles import fitted_map, one_angle
from homodyne_cli._plot_cuts import lag_cut, lag_figure
from homodyne_cli._plot_maps import MapFigure, blocks, colour_limits, panels_of
from homodyne_cli._plot_parameters import SummaryPoint, against_q_figure, curves_figure, scaling_figure
from homodyne_cli._plots import map_name, plot_against_q, plot_fit


def maps_of(data, result):
    """The figure of maps of all angles."""
    return MapFigure([panels_of(*pair) for pair in pairs_of(data, result)], result)


def pairs_of(data, result):
    """Data and fitted map of every angle."""
    return [(one_angle(data, a, result), fitted_map(result, a)) for a in range(data.n_phi)]


def png_pixels(path):
    """Pixels (rows, columns, channels) of a PNG, read by its own format: 8 bits, not interlaced."""
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    position, body, width, height, channels = 8, b"", 0, 0, 0
    while position < len(content):
        length, kind = int.from_bytes(content[position : position + 4]), content[position + 4 : position + 8]
        chunk = content[position + 8 : position + 8 + length]
        if kind == b"IHDR":
            width, height, channels = (
                int.from_bytes(chunk[:4]),
                int.from_bytes(chunk[4:8]),
                {2: 3, 6: 4}[chunk[9]],
            )
        elif kind == b"IDAT":
            body += chunk
        position += 12 + length
    lines = np.frombuffer(zlib.decompress(body), np.uint8).reshape(height, 1 + width * channels)
    return width, height, len(np.unique(lines[:, 1:], axis=0))


def test_all_plots_are_written_and_show_something(sheared, result_of, tmp_path):
    named = []
    files = plot_fit(sheared, result_of(sheared), tmp_path, advance=named.append)
    stems = [file.stem for file in files]
    assert named[:5] == [f"maps ({k} of 5)" for k in range(1, 6)]
    assert named[5:] == [f"{stem} ({k} of 8)" for k, stem in enumerate(stems, start=1)]
    assert stems == [
        *(map_name(a, sheared.phi) for a in range(5)), "lag_cuts", "curves", "scaling"
    ]  # fmt: skip
    assert sorted(tmp_path.iterdir()) == sorted(files)
    for file in files:
        width, height, different_lines = png_pixels(file)
        assert width > 500
        assert height > 300
        assert different_lines > 100


def test_formats_and_kinds(sheared, result_of, tmp_path):
    files = plot_fit(sheared, result_of(sheared), tmp_path, kinds=["curves"], formats=("pdf", "svg"))
    assert [file.name for file in files] == ["curves.pdf", "curves.svg"]
    assert files[0].read_bytes().startswith(b"%PDF")
    assert b"<svg" in files[1].read_bytes()


def test_names_differ_where_angles_do_not():
    phi = np.array([10.0, 10.001, 10.1, -10.0])
    names = [map_name(a, phi) for a in range(4)]
    assert len(set(names)) == 4
    assert names[3] == "map_03_phi_-10.00deg"


def test_masked_points_are_blank_and_the_colour_scale_is_shared(sheared, result_of):
    c2 = np.array(sheared.c2)
    c2[:, 7, 3] = c2[:, 3, 7] = np.nan
    good = np.ones(sheared.n_t, dtype=bool)
    good[20] = False
    data = dataclasses.replace(sheared, c2=c2, good_frames=good)
    result = result_of(data)
    maps = maps_of(data, result)
    figure = maps.show(2)
    limits = colour_limits([panels_of(*pair) for pair in pairs_of(data, result)])
    assert maps.limits == limits
    measured, fitted, residual = (axes.images[0] for axes in figure.axes[:3])
    assert measured.get_clim() == fitted.get_clim() == limits
    low, high = residual.get_clim()
    assert low == -high
    blank = np.eye(30, dtype=bool)
    blank[20, :] = blank[:, 20] = True
    blank[7, 3] = blank[3, 7] = True
    for image in (measured, fitted, residual):
        assert np.array_equal(np.isnan(np.asarray(image.get_array().filled(np.nan))), blank)


def test_every_angle_gets_its_own_maps(sheared, result_of):
    result = result_of(sheared)
    maps = maps_of(sheared, result)
    for angle in (3, 1):
        figure = maps.show(angle)
        shown = figure.axes[0].images[0].get_array()
        assert shown[0, 5] == pytest.approx(sheared.c2[angle, 5, 0])
        assert figure.get_suptitle().endswith(f"{sheared.phi[angle]:.2f}°".replace("-", "−"))


def test_rows_are_t1_to_the_right(sheared, result_of):
    c2 = np.array(sheared.c2)
    c2[:] = 1.0
    c2[:, 5, 2] = 2.0  # t1 is frame 5, t2 is frame 2
    data = dataclasses.replace(sheared, c2=c2, symmetric=False)
    result = result_of(data)
    axes = maps_of(data, result).show(0).axes[0]
    assert axes.get_xlabel() == "$t_1$ [s]"
    up, right = np.unravel_index(np.nanargmax(axes.images[0].get_array()), (30, 30))
    assert (right, up) == (5, 2)
    # The middle of frame 5 lies at its time.
    left, end, *_ = axes.images[0].get_extent()
    assert left + (right + 0.5) * (end - left) / 30 == pytest.approx(data.t[5])


def test_large_maps_are_averaged_in_blocks_without_the_masked_points():
    values = np.arange(25.0).reshape(5, 5)
    shown = np.ones((5, 5), dtype=bool)
    shown[0, 0] = False
    shown[2:4, 2:4] = False
    means = blocks(values, shown, 2)
    assert means.shape == (3, 3)
    assert means[0, 0] == np.mean([1, 5, 6])
    assert np.isnan(means[1, 1])
    assert means[2, 2] == 24.0
    assert np.array_equal(blocks(values, np.ones((5, 5), bool), 1), values)


def test_parts_of_a_map_make_the_same_panels_and_cuts(sheared, result_of, monkeypatch):
    sigma = np.full(sheared.c2.shape, 0.01)
    sigma[:, 20:] *= 2
    data = dataclasses.replace(sheared, sigma=sigma)
    (pair, *_) = pairs_of(data, result_of(data))
    monkeypatch.setattr(_plot_maps, "_MOST_PIXELS", 9)  # blocks of 4 frames, the last ones cut
    panels, cut = panels_of(*pair), lag_cut(*pair)
    monkeypatch.setattr(_plot_maps, "_BAND", 2)
    monkeypatch.setattr(_plot_cuts, "_POINTS", 100)
    for name in ("measured", "fitted", "residual"):
        parts = getattr(panels_of(*pair), name)
        assert parts.shape == (8, 8)
        np.testing.assert_allclose(parts, getattr(panels, name), rtol=1e-6, atol=1e-6)
    for name in ("lag", "measured", "fitted", "scatter"):
        np.testing.assert_allclose(getattr(lag_cut(*pair), name), getattr(cut, name), rtol=1e-9)


def test_the_fitted_map_of_an_angle_is_that_of_the_result(sheared, result_of, monkeypatch):
    result = result_of(sheared)
    whole = result.fitted()
    assert np.array_equal(np.stack([fitted_map(result, a) for a in range(5)]), whole)
    monkeypatch.setattr("homodyne_cli._angles._POINTS", 7 * 30)  # 7 rows at once
    assert np.array_equal(fitted_map(result, 3), whole[3])


def test_a_fit_that_could_not_begin_leaves_the_measured_maps_visible(sheared, result_of, tmp_path):
    nothing = np.full(17, np.nan)
    nothing[10:] = result_of(sheared).parameters[10:]
    result = result_of(sheared, parameters=nothing, convergence_status="failed")
    low, high = maps_of(sheared, result).limits
    assert sheared.c2.min() - 0.1 < low < 1 < 1.2 < high < sheared.c2.max() + 0.1
    assert len(plot_fit(sheared, result, tmp_path)) == 8


def test_without_sigma_the_plain_difference_is_shown(sheared, result_of):
    data = dataclasses.replace(sheared, sigma=None, sigma_source=None)
    figure = maps_of(data, result_of(data)).show(0)
    assert figure.axes[-1].get_ylabel() == "measured − fitted"


def test_a_cut_averages_exactly_the_points_that_count(sheared, result_of):
    result = result_of(sheared)
    fitted = result.fitted()
    cut = lag_cut(*pairs_of(sheared, result)[1])
    # The first groups hold one lag each: lag 1 is the first subdiagonal.
    below = np.diagonal(sheared.c2[1], -1)
    assert cut.lag[0] == pytest.approx(sheared.dt)
    assert cut.measured[0] == pytest.approx(below.mean(), rel=1e-6)
    assert cut.scatter[0] == pytest.approx(below.std() / np.sqrt(below.size), rel=1e-4)
    assert cut.fitted[0] == pytest.approx(np.diagonal(fitted[1], -1).mean(), rel=1e-6)
    assert np.all(np.diff(cut.lag) > 0)
    assert np.all(np.isfinite(cut.measured))


def test_many_angles_have_a_panel_each_with_the_same_axes(sheared, result_of):
    data = dataclasses.replace(
        sheared, c2=np.repeat(sheared.c2, 5, axis=0)[:23], phi=np.linspace(-180, 174, 23)
    )
    result = result_of(data)
    figure = lag_figure([lag_cut(*pair) for pair in pairs_of(data, result)], result, range(23))
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert len(panels) == 23
    assert panels[0].get_title() == "φ = −180.0°"
    assert len({axes.get_ylim() for axes in panels}) == 1


def test_very_many_angles_have_several_pages(sheared, result_of, tmp_path, monkeypatch):
    monkeypatch.setattr(_plots, "_PANELS_PER_PAGE", 2)
    files = plot_fit(sheared, result_of(sheared), tmp_path, kinds=["lag_cuts"])
    assert [file.name for file in files] == ["lag_cuts_1.png", "lag_cuts_2.png", "lag_cuts_3.png"]


def test_curves_have_bands_and_units(sheared, result_of):
    diffusion, shear = curves_figure(result_of(sheared)).axes
    assert diffusion.get_ylabel() == "$D(t)$ [Å$^2$ s$^{-1}$]"
    assert shear.get_ylabel() == r"$\dot\gamma(t)$ [s$^{-1}$]"
    assert diffusion.get_xlabel() == "$t$ [s]"
    assert len(diffusion.collections) == len(shear.collections) == 1
    assert diffusion.get_yscale() == "log"  # falls by more than a factor of 20


def test_curves_of_held_and_negative_transport(still, result_of):
    held = result_of(still)
    held = result_of(
        still,
        diffusion=dataclasses.replace(held.diffusion, value=np.full(30, 5.0), error=np.full(30, np.nan)),
    )
    (panel,) = curves_figure(held).axes
    assert not panel.collections
    assert panel.get_ylim()[0] == 0
    assert "no uncertainty" in panel.get_legend().get_texts()[-1].get_text()
    negative = dataclasses.replace(held.diffusion, value=np.linspace(5.0, -5.0, 30), error=np.ones(30))
    (panel,) = curves_figure(result_of(still, diffusion=negative)).axes
    assert panel.get_yscale() == "linear"
    assert panel.get_ylim()[0] < -5


def test_scaling_marks_what_is_at_a_bound(sheared, result_of):
    at = ("upper", *("" for _ in range(16)))
    contrast, offset = scaling_figure(result_of(sheared, at_bound=at)).axes
    assert contrast.get_legend().get_texts()[0].get_text() == "at a bound"
    assert offset.get_legend() is None
    assert offset.get_xlabel() == "φ [°]"


def test_a_fit_that_did_not_converge_says_so_in_its_plots(sheared, result_of):
    result = result_of(sheared, convergence_status="partial")
    assert "NOT CONVERGED (partial)" in scaling_figure(result).get_suptitle()


def test_parameters_against_q(tmp_path):
    points = [SummaryPoint(0.0063, 4.8e5, 1e4), SummaryPoint(0.0087, 3.4e5, float("nan"))]
    (axes,) = against_q_figure(points, "D0").axes
    assert axes.get_xlabel() == "$q$ [Å$^{-1}$]"
    assert axes.get_ylim()[0] == 0
    (file,) = plot_against_q(points, "D0", tmp_path)
    assert file.name == "D0_vs_q.png"
    assert png_pixels(file)[2] > 50


def test_plots_do_not_depend_on_the_users_settings(sheared, result_of, tmp_path):
    import matplotlib

    with matplotlib.rc_context({"text.usetex": True, "savefig.dpi": 20, "font.size": 40}):
        (file,) = plot_fit(sheared, result_of(sheared), tmp_path, kinds=["scaling"])
        assert matplotlib.rcParams["font.size"] == 40
    assert png_pixels(file)[0] > 500


def test_a_posterior_stands_beside_the_fit_against_q(tmp_path):
    points = [SummaryPoint(0.0063, 4.8e5, 1e4), SummaryPoint(0.0087, 3.4e5, 2e4)]
    posterior = [SummaryPoint(0.0063, 4.7e5, 1e4), SummaryPoint(0.0087, 3.5e5, 6e4)]
    (axes,) = against_q_figure(points, "D0", posterior).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["least squares", "posterior"]
    (fitted, *_), (sampled, *_) = axes.containers
    assert fitted.get_ydata().tolist() == [4.8e5, 3.4e5]
    assert sampled.get_ydata().tolist() == [4.7e5, 3.5e5]
    assert np.all(sampled.get_xdata() > fitted.get_xdata())
    (alone,) = against_q_figure([], "D0", posterior).axes
    assert alone.containers[0][0].get_xdata().tolist() == [0.0063, 0.0087]
    assert "2 values of q" in alone.get_title()
    (file,) = plot_against_q([], "D0", tmp_path, posterior=posterior)
    assert file.stat().st_size > 5000
