"""The inner loops of drawing: triangles, polygons, displaced pictures. Compiled by numba, free of the interpreter lock.

Convention:
    pixel ``(row, column)`` has its centre at ``x = column``, ``y = row``; x runs right, y down, z towards the viewer;
    points are given relative to the window (array) that is drawn into; colours are 0 to 255, opacities 0 to 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mien.compiled import compiled as compiled

Array = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]
Frame = npt.NDArray[np.uint8]

_FACE_VALUES = 5
"""Values per pixel of a drawn face, see :func:`blend_places`; a constant for the compiler's sake."""


def fill_triangles(points: Array, values: Array, triangles: Integers, depth: Array, out: Array) -> None:
    """Draw triangles with values interpolated between their corners; the nearest one wins.

    Args:
        points: ``(N, 3)`` window x, y and z.
        values: ``(N, A)`` what to interpolate.
        triangles: ``(F, 3)`` corners, in either orientation.
        depth: ``(h, w)`` z of what is already drawn; start with ``-inf``. Changed in place.
        out: ``(h, w, A)`` the values drawn. Changed in place.
    """
    _fill(points, values, triangles, depth, out, (0,) * values.shape[1])


@compiled
def _fill(points: Array, values: Array, triangles: Integers, depth: Array, out: Array, kinds: tuple[int, ...]) -> None:
    """See :func:`fill_triangles`; how long ``kinds`` is tells the compiler how many values there are."""
    height, width = depth.shape
    zero, one, rim, nothing = np.float32(0), np.float32(1), np.float32(1e-3), np.float32(1e-6)
    last_column, last_row = np.float32(width - 1), np.float32(height - 1)
    at, step = np.empty(len(kinds), np.float32), np.empty(len(kinds), np.float32)
    for t in range(len(triangles)):
        a, b, c = np.uint32(triangles[t, 0]), np.uint32(triangles[t, 1]), np.uint32(triangles[t, 2])
        ax, ay, bx, by, cx, cy = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
        left, right = np.ceil(max(min(ax, bx, cx) - rim, zero)), np.floor(min(max(ax, bx, cx) + rim, last_column))
        top, bottom = np.ceil(max(min(ay, by, cy) - rim, zero)), np.floor(min(max(ay, by, cy) + rim, last_row))
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if left > right or top > bottom or abs(area) < nothing:
            continue
        # Weights of the corners are linear in x and y.
        share = one / area
        b_dx, b_dy, c_dx, c_dy = (cy - ay) * share, (ax - cx) * share, (ay - by) * share, (bx - ax) * share
        a_dx = -b_dx - c_dx
        per_a, per_b, per_c = one / a_dx, one / b_dx, one / c_dx
        z_step = b_dx * (points[b, 2] - points[a, 2]) + c_dx * (points[c, 2] - points[a, 2])
        for k in range(len(kinds)):
            step[k] = b_dx * (values[b, k] - values[a, k]) + c_dx * (values[c, k] - values[a, k])
        for y in range(int(top), int(bottom) + 1):
            row = np.float32(y) - ay
            weight_b, weight_c = row * b_dy - ax * b_dx, row * c_dy - ax * c_dx
            start, end = _narrowed(left, right, weight_b, b_dx, per_b)
            start, end = _narrowed(start, end, weight_c, c_dx, per_c)
            start, end = _narrowed(start, end, one - weight_b - weight_c, a_dx, per_a)
            start = np.ceil(start)
            if start > end:
                continue
            weight_b += start * b_dx
            weight_c += start * c_dx
            weight_a = one - weight_b - weight_c
            z = weight_a * points[a, 2] + weight_b * points[b, 2] + weight_c * points[c, 2]
            for k in range(len(kinds)):
                at[k] = weight_a * values[a, k] + weight_b * values[b, k] + weight_c * values[c, k]
            depths, drawn = depth[np.uint32(y)], out[np.uint32(y)]
            distance = zero
            for x in range(int(start), int(end) + 1):
                here = z + distance * z_step
                if here > depths[np.uint32(x)]:
                    depths[np.uint32(x)] = here
                    for k in range(len(kinds)):
                        drawn[np.uint32(x), k] = at[k] + distance * step[k]
                distance += one


@compiled
def _narrowed(start: Any, end: Any, at_zero: Any, slope: Any, per_slope: Any) -> tuple[Any, Any]:
    """The part of a row, from ``start`` to ``end``, in which a weight is at least zero.

    The weight is ``at_zero + slope * x``; a little slack closes hairline cracks between neighbouring triangles.
    """
    missing, level = np.float32(-1e-4) - at_zero, np.float32(1e-9)
    if slope > level:
        return max(start, missing * per_slope), end
    if slope < -level:
        return start, min(end, missing * per_slope)
    return start, end if missing <= np.float32(0) else np.float32(-1)


@compiled
def turn_points(points: Array, change: Array, pivot: Array, turn: Array, shift: Array, out: Array) -> None:
    """Move points and turn them about a pivot.

    Args:
        points: ``(N, 3)``.
        change: ``(N, 3)``, added before the turn.
        pivot: ``(3,)``.
        turn: ``(3, 3)`` acting on columns.
        shift: ``(2,)`` x and y, added after the turn.
        out: ``(N, 3)``, overwritten.
    """
    for i in range(len(points)):
        x = points[i, 0] + change[i, 0] - pivot[0]
        y = points[i, 1] + change[i, 1] - pivot[1]
        z = points[i, 2] + change[i, 2] - pivot[2]
        out[i, 0] = turn[0, 0] * x + turn[0, 1] * y + turn[0, 2] * z + pivot[0] + shift[0]
        out[i, 1] = turn[1, 0] * x + turn[1, 1] * y + turn[1, 2] * z + pivot[1] + shift[1]
        out[i, 2] = turn[2, 0] * x + turn[2, 1] * y + turn[2, 2] * z + pivot[2]


@compiled
def vertex_normals(points: Array, triangles: Integers, out: Array) -> None:
    """Unit normals, averaged over the triangles around each vertex by their area.

    Args:
        points: ``(N, 3)``.
        triangles: ``(F, 3)``, counter-clockwise seen from where the normals shall point to.
        out: ``(N, 3)``, overwritten; zero where a vertex has no triangle.
    """
    out[:] = 0
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ux, uy, uz = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
        vx, vy, vz = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for k in range(3):
            out[triangles[t, k], 0] += nx
            out[triangles[t, k], 1] += ny
            out[triangles[t, k], 2] += nz
    for i in range(len(out)):
        length = np.sqrt(out[i, 0] ** 2 + out[i, 1] ** 2 + out[i, 2] ** 2)
        if length > 0:
            for k in range(3):
                out[i, k] /= length


@compiled
def polygon_coverage(polygon: Array, out: Array) -> None:
    """How much of each pixel a polygon covers, in [0, 1]; where it has turned inside out it covers nothing.

    Exact in x, eight lines per pixel in y. A polygon without area covers nothing, so that closed lips and lids vanish.

    Args:
        polygon: ``(N, 2)`` corners, clockwise as seen on the screen.
        out: ``(h, w)``, overwritten.
    """
    height, width = out.shape
    n = len(polygon)
    out[:] = 0.0
    crossings = np.empty(n, np.float32)
    windings = np.empty(n, np.int32)
    top, bottom = max(0, int(polygon[:, 1].min()) - 1), min(height, int(polygon[:, 1].max()) + 2)
    for y in range(top, bottom):
        for line in range(8):
            level = y - 0.5 + (line + 0.5) / 8.0
            count = 0
            for i in range(n):
                j = i + 1 if i + 1 < n else 0
                y0, y1 = polygon[i, 1], polygon[j, 1]
                if (y0 <= level) == (y1 <= level):
                    continue
                x = polygon[i, 0] + (level - y0) / (y1 - y0) * (polygon[j, 0] - polygon[i, 0])
                k = count
                while k > 0 and crossings[k - 1] > x:
                    crossings[k], windings[k] = crossings[k - 1], windings[k - 1]
                    k -= 1
                crossings[k], windings[k] = x, 1 if y1 < y0 else -1  # clockwise: the left side runs upwards
                count += 1
            winding = 0
            for k in range(count - 1):
                winding += windings[k]
                if winding <= 0:
                    continue
                start, end = crossings[k] + 0.5, crossings[k + 1] + 0.5  # in pixel edges
                for x in range(max(0, int(start)), min(width - 1, int(end)) + 1):
                    out[y, x] += max(0.0, min(end, x + 1.0) - max(start, float(x))) / 8.0


@compiled
def pixel_box(points: Array, left: int, top: int, right: int, bottom: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the pixels that touch points ``(N, 2 or more)``, as far as they lie in that box."""
    low_x, low_y, high_x, high_y = points[0, 0], points[0, 1], points[0, 0], points[0, 1]
    for i in range(1, len(points)):
        low_x, high_x = min(low_x, points[i, 0]), max(high_x, points[i, 0])
        low_y, high_y = min(low_y, points[i, 1]), max(high_y, points[i, 1])
    left, top = max(int(np.floor(low_x)) - 1, left), max(int(np.floor(low_y)) - 1, top)
    return left, top, min(int(np.ceil(high_x)) + 2, right), min(int(np.ceil(high_y)) + 2, bottom)


@compiled
def values_at_columns(x: Array, values: Array, left: int, out: Array) -> None:
    """Values along a line, read at every column: linear between its points, constant beyond its ends.

    Args:
        x: ``(N,)`` of the line's points, in order along it, in either direction.
        values: ``(N,)`` at the points.
        left: column of the first value wanted.
        out: ``(w,)``, overwritten.
    """
    first, last = np.argmin(x), np.argmax(x)
    for column in range(len(out)):
        out[column] = values[first] if column + left <= x[first] else values[last]
    for i in range(len(x) - 1):
        a, b = (i, i + 1) if x[i] <= x[i + 1] else (i + 1, i)
        slope = (values[b] - values[a]) / max(x[b] - x[a], 1e-6)
        for column in range(max(0, int(np.ceil(x[a])) - left), min(len(out) - 1, int(np.floor(x[b])) - left) + 1):
            out[column] = values[a] + slope * (column + left - x[a])


@compiled
def invert_displacement(forward: Array, cell: int, backward: Array) -> None:
    """Turn "this point goes there" into "this place comes from there", on one grid.

    Newton's iteration for ``b(q) = -f(q + b(q))`` from where the neighbour ended: it converges while the forward field
    does not fold, however much it stretches and turns.

    Args:
        forward: ``(gh, gw, 2)`` pixels, displacement of each grid point.
        cell: pixels between grid points.
        backward: ``(gh, gw, 2)`` pixels, overwritten.
    """
    rows, columns = forward.shape[:2]
    for i in range(rows):
        for j in range(columns):
            bx, by = -forward[i, j, 0], -forward[i, j, 1]
            if abs(bx) + abs(by) < 0.01:
                backward[i, j, 0], backward[i, j, 1] = bx, by
                continue
            if j > 0:
                bx, by = backward[i, j - 1, 0], backward[i, j - 1, 1]
            for _ in range(8):
                x = min(max(j + bx / cell, 0.0), columns - 1.001)
                y = min(max(i + by / cell, 0.0), rows - 1.001)
                j0, i0 = int(x), int(y)
                u, v = x - j0, y - i0
                top_x = forward[i0, j0, 0] * (1 - u) + forward[i0, j0 + 1, 0] * u
                top_y = forward[i0, j0, 1] * (1 - u) + forward[i0, j0 + 1, 1] * u
                low_x = forward[i0 + 1, j0, 0] * (1 - u) + forward[i0 + 1, j0 + 1, 0] * u
                low_y = forward[i0 + 1, j0, 1] * (1 - u) + forward[i0 + 1, j0 + 1, 1] * u
                # How the field stretches and turns here; it is never taken to fold.
                xx = forward[i0, j0 + 1, 0] - forward[i0, j0, 0]
                xx = 1 + (xx + (forward[i0 + 1, j0 + 1, 0] - forward[i0 + 1, j0, 0] - xx) * v) / cell
                yx = forward[i0, j0 + 1, 1] - forward[i0, j0, 1]
                yx = (yx + (forward[i0 + 1, j0 + 1, 1] - forward[i0 + 1, j0, 1] - yx) * v) / cell
                xy, yy = (low_x - top_x) / cell, 1 + (low_y - top_y) / cell
                left_x, left_y = bx + top_x * (1 - v) + low_x * v, by + top_y * (1 - v) + low_y * v
                area = max(xx * yy - xy * yx, 0.25)
                step_x, step_y = (yy * left_x - xy * left_y) / area, (xx * left_y - yx * left_x) / area
                bx, by = bx - step_x, by - step_y
                if abs(step_x) + abs(step_y) < 0.01:
                    break
            backward[i, j, 0], backward[i, j, 1] = bx, by


@compiled
def spread_grid(grid: Array, cell: int, grid_left: int, grid_top: int, left: int, top: int, places: Array) -> None:
    """The places that a window's pixels come from, bilinear between the displacements of a coarse grid.

    Args:
        grid: ``(gh, gw, 2)`` displacement in pixels at the middles of cells, one cell more on every side.
        cell: pixels between grid points.
        grid_left: picture column where the grid's first inner cell begins.
        grid_top: picture row where it begins.
        left: picture column of the window.
        top: picture row of the window.
        places: ``(h, w, 2)`` picture x and y of each pixel of the window, overwritten.
    """
    height, width = places.shape[:2]
    half, size = np.float32(0.5), np.float32(cell)
    # Each row of the grid is spread over the columns once; between two of them everything is linear.
    upper, lower = np.empty(2 * width, np.float32), np.empty(2 * width, np.float32)
    spread = -1
    for y in range(height):
        at = (np.float32(y + top - grid_top) + half) / size + half
        i = int(at)
        if i != spread:
            if i == spread + 1 and spread >= 0:
                upper, lower = lower, upper
            else:
                _spread_row(grid[i], left - grid_left, left, cell, upper)
            _spread_row(grid[i + 1], left - grid_left, left, cell, lower)
            spread = i
        v = at - np.float32(i)
        row = places[y].reshape(-1)
        for x in range(2 * width):
            row[x] = upper[x] + (lower[x] - upper[x]) * v
        for x in range(width):
            row[2 * x + 1] += np.float32(y + top)


@compiled
def _spread_row(grid: Array, start: int, left: int, cell: int, places: Array) -> None:
    """One row of a grid: picture x and displacement y in turn."""
    half, size = np.float32(0.5), np.float32(cell)
    for x in range(len(places) // 2):
        u = (np.float32(x + start) + half) / size + half
        j = int(u)
        u -= np.float32(j)
        places[2 * x] = np.float32(x + left) + grid[j, 0] + (grid[j + 1, 0] - grid[j, 0]) * u
        places[2 * x + 1] = grid[j, 1] + (grid[j + 1, 1] - grid[j, 1]) * u


@compiled
def blend_places(places: Array, face: Array, face_left: int, face_top: int, left: int, top: int) -> None:
    """Lay the face's displacement over the places that a window's pixels come from.

    Places are blended, not colours, so that no ghost appears where face and surroundings meet.

    Args:
        places: ``(h, w, 2)`` picture x and y that each pixel of the window shows, changed in place.
        face: ``(fh, fw, 5)`` backward displacement x and y, opacity, brightness change, lid; opacity 0 outside.
        face_left: picture column of the face array's first column.
        face_top: picture row of the face array's first row.
        left: picture column of the window.
        top: picture row of the window.
    """
    height, width = places.shape[:2]
    first, last = max(0, left - face_left), min(face.shape[1], left + width - face_left)
    start = face_left - left
    for i in range(max(0, top - face_top), min(face.shape[0], top + height - face_top)):
        # Flat views of one row, and no branch: this is what lets the compiler do several pixels at once.
        drawn = face[i].reshape(-1)[_FACE_VALUES * first : _FACE_VALUES * last]
        row = places[i + face_top - top].reshape(-1)[2 * (first + start) : 2 * (last + start)]
        y = np.float32(i + face_top)
        for j in range(last - first):
            opacity = drawn[_FACE_VALUES * j + 2]
            x = np.float32(j + first + face_left)
            row[2 * j] += (x + drawn[_FACE_VALUES * j] - row[2 * j]) * opacity
            row[2 * j + 1] += (y + drawn[_FACE_VALUES * j + 1] - row[2 * j + 1]) * opacity


@compiled
def draw_sampled(out: Frame, sampled: Frame, places: Array, left: int, top: int) -> None:
    """Draw a sampled window and give back the fine detail that bilinear sampling between pixels has averaged away.

    Linear interpolation at a fraction ``u`` is off by ``u (1 - u) / 2`` times the second derivative (Taylor). Taking
    that off again costs a fraction of cubic sampling, and a slowly moving picture keeps its sharpness. One value stands
    for both directions, as if detail had none.

    Args:
        out: the output picture, changed in place.
        sampled: ``(h, w, 4)`` colours; the last channel is half the mean second difference of the brightness, 128 for
            none.
        places: ``(h, w, 2)`` picture x and y that each pixel shows.
        left: picture column of the window.
        top: picture row of the window.
    """
    height, width = places.shape[:2]
    half, one, low, high = np.float32(0.5), np.float32(1), np.float32(0), np.float32(255)
    lost = np.empty(width, np.float32)
    for y in range(height):
        row = out[y + top].reshape(-1)[3 * left : 3 * (left + width)]
        place, colour = places[y].reshape(-1), sampled[y].reshape(-1)
        for x in range(width):
            detail = np.float32(np.int32(colour[4 * x + 3]) - np.int32(128))
            detail = detail if abs(detail) >= np.float32(5) else low  # at most two grey levels are lost
            u, v = place[2 * x], place[2 * x + 1]
            u, v = u - np.floor(u), v - np.floor(v)
            lost[x] = (u * (one - u) + v * (one - v)) * detail - half
        for x in range(width):
            row[3 * x] = np.uint8(np.int32(min(max(np.float32(colour[4 * x]) - lost[x], low), high)))
            row[3 * x + 1] = np.uint8(np.int32(min(max(np.float32(colour[4 * x + 1]) - lost[x], low), high)))
            row[3 * x + 2] = np.uint8(np.int32(min(max(np.float32(colour[4 * x + 2]) - lost[x], low), high)))


@compiled
def relight(out: Frame, face: Array, left: int, top: int, folds: Array, place: Array, tint: Array) -> None:
    """Change the brightness of a drawn face, and soften the edges where skin folds over skin.

    Args:
        out: the output picture, changed in place.
        face: ``(fh, fw, 5)`` as in :func:`blend_places`; the brightness change is relative.
        left: picture column of the face array.
        top: picture row of the face array.
        folds: ``(mh, mw)`` more change of brightness, lying on the photo and carried along with the skin, 0 along its
            border; ``(1, 1)`` for none.
        place: ``(3,)`` picture x and y of its first sample, samples per pixel.
        tint: ``(3,)`` how much of the change each channel takes: skin is warmer in its shadows.
    """
    first_y, last_y = max(1, 1 - top), min(face.shape[0], out.shape[0] - top) - 1
    first_x, last_x = max(1, 1 - left), min(face.shape[1], out.shape[1] - left) - 1
    width = last_x - first_x
    if width <= 0 or last_y <= first_y:
        return
    low, one, half, high = np.float32(0), np.float32(1), np.float32(0.5), np.float32(255)
    changes, overlaps = np.empty(width, np.float32), np.empty(width, np.bool_)
    here, below = np.empty((4, width + 1), np.float32), np.empty((4, width + 1), np.float32)
    _unpack(face[first_y, first_x:], below)
    for y in range(first_y, last_y):
        here, below = below, here
        _unpack(face[y + 1, first_x:], below)
        softens = _brightness_changes(here, below, changes, overlaps)
        if folds.shape[0] > 1:
            _add_folds(here, first_x + left, y + top, folds, place, changes)
        if softens:
            _soften_overlaps(out, first_x + left, y + top, overlaps)
        row = out[y + top].reshape(-1)[3 * (first_x + left) : 3 * (last_x + left)]
        for x in range(width):
            change = changes[x] if abs(changes[x]) >= np.float32(0.003) else low
            for k in range(3):
                value = np.float32(row[3 * x + k]) * (one + change * tint[k]) + half
                row[3 * x + k] = np.uint8(np.int32(min(max(value, low), high)))


@compiled
def _unpack(row: Array, out: Array) -> None:
    """The first four values of a drawn face, each in a line of its own: so the compiler does several at once."""
    values = row.reshape(-1)
    x, y, opacity, brightness = out[0], out[1], out[2], out[3]
    for j in range(out.shape[1]):
        at = _FACE_VALUES * j
        x[j], y[j], opacity[j], brightness[j] = values[at], values[at + 1], values[at + 2], values[at + 3]


@compiled
def _brightness_changes(here: Array, below: Array, changes: Array, overlaps: npt.NDArray[np.bool_]) -> bool:
    """The relative change of each pixel of a row, and where its place jumps to the next one; True if anywhere."""
    zero, jump = np.float32(0), np.float32(1.5)
    x, y, opacity, brightness = here[0], here[1], here[2], here[3]
    x_below, y_below, opacity_below = below[0], below[1], below[2]
    n_overlaps = 0
    for j in range(len(changes)):
        changes[j] = brightness[j] * opacity[j]
        across = abs(x[j + 1] - x[j]) + abs(y[j + 1] - y[j])
        down = abs(x_below[j] - x[j]) + abs(y_below[j] - y[j])
        jumps = ((opacity[j + 1] > zero) & (across > jump)) | ((opacity_below[j] > zero) & (down > jump))
        overlaps[j] = jumps & (opacity[j] > zero)
        n_overlaps += overlaps[j]
    return n_overlaps > 0


@compiled
def _add_folds(here: Array, left: int, y: int, folds: Array, place: Array, changes: Array) -> None:
    """Multiply a row's changes with those of the folds that lie where its pixels come from."""
    zero = np.float32(0)
    stride = np.int32(folds.shape[1])
    most_u, most_v = np.float32(folds.shape[1] - 1.001), np.float32(folds.shape[0] - 1.001)
    values = folds.reshape(-1)
    from_x, from_y, opacity = here[0], here[1], here[2]
    first_x, first_y, scale = place[0], place[1], place[2]
    # Arithmetic in one loop, looking up in the next: the compiler does several pixels of the first at once.
    across, down = np.empty(len(changes), np.float32), np.empty(len(changes), np.float32)
    sample_at = np.empty(len(changes), np.uint32)
    for x in range(len(changes)):
        u = min(max((np.float32(x + left) + from_x[x] - first_x) * scale, zero), most_u)
        v = min(max((np.float32(y) + from_y[x] - first_y) * scale, zero), most_v)
        j, i = np.int32(u), np.int32(v)
        across[x], down[x], sample_at[x] = u - np.float32(j), v - np.float32(i), np.uint32(i * stride + j)
    for x in range(len(changes)):
        k, u = sample_at[x], across[x]
        below = np.uint32(k + np.uint32(stride))
        upper = values[k] + (values[np.uint32(k + np.uint32(1))] - values[k]) * u
        lower = values[below] + (values[np.uint32(below + np.uint32(1))] - values[below]) * u
        fold = (upper + (lower - upper) * down[x]) * opacity[x]
        changes[x] += fold + changes[x] * fold


@compiled
def _soften_overlaps(out: Frame, left: int, y: int, overlaps: npt.NDArray[np.bool_]) -> None:
    """Mix the pixels of a row at which skin folds over skin with their neighbours."""
    for x in range(len(overlaps)):
        if overlaps[x]:
            j = x + left
            for k in range(3):
                value = 2 * np.float32(out[y, j, k]) + out[y, j + 1, k] + out[y, j - 1, k] + out[y + 1, j, k]
                out[y, j, k] = np.uint8((value + out[y - 1, j, k]) / np.float32(6) + np.float32(0.5))


@compiled
def sample(image: Array | Frame, x: float, y: float, k: int) -> float:
    """Channel ``k`` of ``image`` ``(h, w, C)`` at a fractional place, bilinear, edges extended."""
    height, width = image.shape[:2]
    x = min(max(x, 0.0), width - 1.001)
    y = min(max(y, 0.0), height - 1.001)
    j, i = int(x), int(y)
    u, v = x - j, y - i
    value: float = (image[i, j, k] * (1 - u) + image[i, j + 1, k] * u) * (1 - v) + (
        image[i + 1, j, k] * (1 - u) + image[i + 1, j + 1, k] * u
    ) * v
    return value
