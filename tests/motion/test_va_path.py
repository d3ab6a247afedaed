"""Labels to a path: points stay in their regions, the spline begins and ends where it should, files are checked."""

import numpy as np
import pytest

from mien.direction import LABEL_ANGLES, LABELS
from mien.errors import DirectionError, FormatError, InputError
from mien.motion.va_path import REGIONS, PathOptions, VaRegion, b_spline, load_regions, save_regions, span_path
from mien.spans import parse_spans


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("intensity", [0.3, 1.0])
def test_ten_thousand_points_stay_in_their_region(label, intensity):
    points = REGIONS[label].sample(10_000, np.random.default_rng(0), intensity)
    assert REGIONS[label].contains(points, intensity).all()
    if intensity == 1.0:  # and in no other
        assert not any(region.contains(points).any() for name, region in REGIONS.items() if name != label)


def test_every_label_has_a_region_around_its_place():
    assert set(REGIONS) == set(LABELS)
    for label, degrees in LABEL_ANGLES.items():
        low, high = REGIONS[label].angle
        assert low <= degrees <= high, label


def test_points_are_uniform_over_the_area():
    points = VaRegion((0, 360), (0, 1)).sample(20_000, np.random.default_rng(1))
    assert np.mean(np.hypot(*points.T) < 0.5) == pytest.approx(0.25, abs=0.01)
    assert np.mean((points > 0).all(1)) == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("degree", [1, 2, 3, 5])
@pytest.mark.parametrize("smoothness", [0.0, 0.4, 1.0])
def test_the_spline_is_clamped_and_reproduces_lines(degree, smoothness):
    times = [1, 2, 2.5, 4, 4.6, 6]
    line = np.array([0.2, -0.1]) + np.linspace(0, 1, 6)[:, None] ** 2 * np.array([0.6, 0.3])
    curve = b_spline(times, line, np.linspace(0, 7, 200), degree, smoothness)
    np.testing.assert_allclose(curve[0], line[0], atol=1e-6)
    np.testing.assert_allclose(curve[-1], line[-1], atol=1e-6)
    np.testing.assert_allclose(curve[:, 1] - curve[:, 0] / 2, -0.2, atol=1e-6)


def test_smoothness_leads_through_the_points_or_stays_inside_them():
    times, points = np.arange(6), np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0.5], [0.5, 0.5]])
    np.testing.assert_allclose(b_spline(times, points, times, 3, 0.0), points, atol=1e-6)
    dense = np.linspace(0, 5, 500)
    assert b_spline(times, points, dense, 3, 0.0).max() > 1.02
    inside = b_spline(times, points, dense, 3, 1.0)
    assert inside.min() >= -1e-6 and inside.max() <= 1 + 1e-6


def test_few_points_lower_the_degree():
    np.testing.assert_allclose(b_spline([0, 2], [[0, 0], [1, 1]], [1.0], 3), [[0.5, 0.5]], atol=1e-6)
    np.testing.assert_allclose(b_spline([0], [[0.3, 0.1]], [5.0], 3), [[0.3, 0.1]], atol=1e-6)


def test_a_path_is_in_its_regions_and_repeats_with_its_seed():
    spans = parse_spans("1s-5s:happy:0.8, 5s-9s:sad, 10s-12s:va(-0.3,0.5)")
    path = span_path(spans, 300, 25.0, seed=3)
    assert path.va.shape == (300, 2) and path.va.dtype == np.float32 and np.abs(path.va).max() <= 1
    at = (np.arange(300) / 25)[:, None] == path.times
    drawn = REGIONS["happy"].contains(path.points[path.times < 5], 0.8)
    assert drawn.all() and REGIONS["sad"].contains(path.points[(path.times > 5) & (path.times < 9)]).all()
    middle = at[:, (path.times > 1.5) & (path.times < 4.5)].argmax(0)  # away from the change
    np.testing.assert_allclose(path.va[middle], path.points[(path.times > 1.5) & (path.times < 4.5)], atol=1e-5)
    np.testing.assert_allclose(path.va[255:300], np.tile([-0.3, 0.5], (45, 1)), atol=1e-5)
    np.testing.assert_array_equal(span_path(spans, 300, 25.0, seed=3).va, path.va)
    assert np.abs(span_path(spans, 300, 25.0, seed=4).va - path.va).max() > 0.01


def test_where_stretches_touch_the_path_has_no_step():
    va = span_path(parse_spans("0s-3s:happy, 3s-6s:sad"), 150, 25.0).va
    assert np.abs(np.diff(va, axis=0)).max() < 0.5
    assert np.abs(np.diff(va, n=2, axis=0)).max() < 0.25


def test_intensity_is_a_factor_on_the_radius():
    weak, strong = (span_path(parse_spans(f"anger:{i}"), 100, 25.0, seed=1).points for i in (0.4, 0.8))
    np.testing.assert_allclose(2 * weak, strong, atol=1e-6)


def test_regions_are_read_from_a_file(tmp_path):
    save_regions(tmp_path / "all.yaml")
    assert dict(load_regions(tmp_path / "all.yaml")) == dict(REGIONS)
    (tmp_path / "own.json").write_text('{"joy": {"angle": [-10, 10], "radius": [0.2, 0.4]}}')
    regions = load_regions(tmp_path / "own.json")
    assert regions["happy"] == VaRegion((-10, 10), (0.2, 0.4)) and regions["sad"] == REGIONS["sad"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("glee: {angle: [1, 2], radius: [0, 1]}", "glee"),
        ("happy: {angle: [30, 1], radius: [0, 1]}", "happy"),
        ("happy: {angle: [1, 30], radius: [0, 2]}", "radius"),
        ("happy: 3", "angle and radius"),
        ("happy: {angle: [1, x], radius: [0, 1]}", "happy"),
        ("- a", "names no regions"),
        ("{", "cannot be read"),
    ],
)
def test_bad_regions_are_refused_by_name(tmp_path, text, names):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(FormatError, match=names):
        load_regions(tmp_path / "bad.yaml")
    with pytest.raises(InputError, match="no such file"):
        load_regions(tmp_path / "none.yaml")


def test_bad_numbers_are_refused():
    with pytest.raises(DirectionError):
        VaRegion((0, 10), (0.5, 0.5))
    with pytest.raises(InputError, match="degree"):
        PathOptions(degree=0)
    with pytest.raises(InputError, match="smoothness"):
        PathOptions(smoothness=1.5)
    with pytest.raises(ValueError, match="names no emotion"):
        span_path(parse_spans("2s-5s:0.8"), 100, 25.0)
