"""The drawing kernels against what can be worked out by hand."""

import numpy as np
import pytest

from mien.rendering.raster import (
    blend_places,
    draw_sampled,
    fill_triangles,
    invert_displacement,
    pixel_box,
    polygon_coverage,
    spread_grid,
    turn_points,
    values_at_columns,
    vertex_normals,
)


def square(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)


def test_values_are_linear_and_the_nearest_triangle_wins() -> None:
    points = np.array([[0, 0, 0], [20, 0, 0], [0, 20, 0], [0, 0, 5], [6, 0, 5], [0, 6, 5]], np.float32)
    values = np.array([[0], [20], [0], [-1], [-1], [-1]], np.float32)
    triangles = np.array([[0, 1, 2], [3, 4, 5]], np.int32)
    depth, out = np.full((24, 24), -np.inf, np.float32), np.zeros((24, 24, 1), np.float32)
    fill_triangles(points, values, triangles, depth, out)
    assert out[1, 1, 0] == -1
    assert out[8, 8, 0] == pytest.approx(8, abs=1e-4)
    assert np.isneginf(depth[20, 20])


def test_neighbouring_triangles_leave_no_crack() -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:9, 0:9].astype(np.float32)
    points = np.stack([x * 5, y * 5, x * 0], -1)
    points[1:-1, 1:-1, :2] += rng.uniform(-2, 2, (7, 7, 2))
    index = np.arange(81).reshape(9, 9)
    a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]))
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)]).astype(np.int32)
    depth, out = np.full((41, 41), -np.inf, np.float32), np.zeros((41, 41, 1), np.float32)
    fill_triangles(points.reshape(-1, 3).astype(np.float32), np.ones((81, 1), np.float32), triangles, depth, out)
    assert np.abs(out - 1).max() < 1e-3


@pytest.mark.parametrize("box", [(2, 3, 9, 8), (2.25, 3.5, 9.75, 8.125), (-4, -4, 3, 3)])
def test_coverage_adds_up_to_the_area(box: tuple[float, float, float, float]) -> None:
    out = np.empty((16, 16), np.float32)
    polygon_coverage(square(*box), out)
    left, top, right, bottom = (min(max(value, -0.5), 15.5) for value in box)
    assert out.sum() == pytest.approx((right - left) * (bottom - top), rel=0.02)
    assert out.max() <= 1.0001


def test_a_polygon_without_area_or_inside_out_covers_nothing() -> None:
    out = np.empty((16, 16), np.float32)
    for polygon in (square(2, 5, 12, 5), square(2, 3, 9, 8)[::-1].copy()):
        polygon_coverage(polygon, out)
        assert not out.any()


def test_the_box_of_points_holds_their_pixels_and_stays_within_the_picture() -> None:
    points = np.array([[3.2, -8, 0], [7.5, 4.9, 0], [5, 2, 0]], np.float32)
    assert pixel_box(points, 0, 0, 9, 40) == (2, 0, 9, 7)


@pytest.mark.parametrize("step", [1, -1])
def test_a_line_is_read_at_columns_in_either_direction(step: int) -> None:
    x, values = np.array([2, 4, 4.5, 8], np.float32)[::step], np.array([10, 20, 20, 13], np.float32)[::step]
    out = np.empty(10, np.float32)
    values_at_columns(x, values, 1, out)
    assert np.allclose(out, [10, 10, 15, 20, 19, 17, 15, 13, 13, 13])


def test_points_turn_about_the_pivot() -> None:
    quarter = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.float32)
    points, change = np.array([[3, 1, 5]], np.float32), np.array([[0, 1, -1]], np.float32)
    out = np.empty_like(points)
    turn_points(points, change, np.array([2, 2, 2], np.float32), quarter, np.array([10, 20], np.float32), out)
    assert out.tolist() == [[12, 23, 4]]


def test_the_inverse_displacement_leads_back() -> None:
    cell = 4
    y, x = np.mgrid[0:30, 0:30].astype(np.float32)
    bump = 6 * np.exp(-((x - 15) ** 2 + (y - 15) ** 2) / 30)
    forward = np.stack([bump, -0.5 * bump], -1).astype(np.float32)
    backward = np.empty_like(forward)
    invert_displacement(forward, cell, backward)
    # From each grid point back to its source, and forward again from there.
    source = np.stack([x, y], -1) + backward / cell
    i, j = source[15, 16, 1], source[15, 16, 0]
    i0, j0 = int(i), int(j)
    u, v = j - j0, i - i0
    there = (forward[i0, j0] * (1 - u) + forward[i0, j0 + 1] * u) * (1 - v)
    there += (forward[i0 + 1, j0] * (1 - u) + forward[i0 + 1, j0 + 1] * u) * v
    assert np.allclose(there, -backward[15, 16], atol=0.05)


def test_a_spread_grid_is_linear_between_its_points() -> None:
    cell, left, top = 4, 10, 20
    y, x = np.mgrid[0:8, 0:9]
    centre_x, centre_y = left + (x - 0.5) * cell - 0.5, top + (y - 0.5) * cell - 0.5
    grid = np.stack([0.1 * centre_x, 0.2 * centre_y - 0.05 * centre_x], -1).astype(np.float32)
    places = np.empty((13, 17, 2), np.float32)
    spread_grid(grid, cell, left, top, 13, 25, places)
    y, x = np.mgrid[25 : 25 + 13, 13 : 13 + 17]
    assert np.allclose(places[..., 0], 1.1 * x, atol=1e-4)
    assert np.allclose(places[..., 1], 1.2 * y - 0.05 * x, atol=1e-4)


def test_lost_detail_comes_back_between_pixels_only() -> None:
    sampled = np.full((2, 2, 4), 100, np.uint8)
    sampled[0, :, 3], sampled[1, :, 3] = 128 + 40, 128
    places = np.zeros((2, 2, 2), np.float32)
    places[:, 1] = 0.5
    out = np.zeros((4, 5, 3), np.uint8)
    draw_sampled(out, sampled, places, 2, 1)
    assert out[1:3, 2:4, 0].tolist() == [[100, 80], [100, 100]]  # (1/4 + 1/4) of 40 off
    assert out.astype(int).sum() == 3 * 380


def test_the_face_overrules_the_ground_by_its_opacity() -> None:
    y, x = np.mgrid[50:60, 100:110]
    places = np.stack([x, y], -1).astype(np.float32) + 2
    face = np.zeros((4, 4, 5), np.float32)
    face[..., 0], face[..., 2] = -6, 0.25
    blend_places(places, face, 103, 53, 100, 50)
    assert places[0, 0].tolist() == [102, 52]
    assert places[4, 5].tolist() == [105 + 2 + 0.25 * (-6 - 2), 54 + 2 + 0.25 * (0 - 2)]


def test_normals_point_to_where_triangles_run_counter_clockwise() -> None:
    points = np.array([[0, 0, 0], [3, 0, 0], [0, 2, 0], [0, 0, 1], [9, 9, 9]], np.float32)
    triangles = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    normals = np.empty_like(points)
    vertex_normals(points, triangles, normals)
    assert np.allclose(normals[1], [0, 0, 1])
    assert np.allclose(normals[3], [1, 0, 0])
    assert np.allclose(normals[0], np.array([2, 0, 6]) / np.hypot(2, 6))
    assert not normals[4].any()
