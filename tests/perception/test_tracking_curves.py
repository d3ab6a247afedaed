import numpy as np
import pytest

from mien.perception.curves import cut_positions, find_blinks, interpolate_gaps, smooth

FPS = 25.0


def bumps(n: int, starts: tuple[int, ...], length: int, height: float, base: float = 0.1) -> np.ndarray:
    curve = np.full(n, base, np.float32)
    for start in starts:
        curve[start : start + length] = height
    return curve


def test_smoothing_calms_jitter_but_keeps_a_closure_of_two_frames():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.01, (200, 1)).astype(np.float32)
    clean = bumps(200, (60, 120), 2, 0.9)[:, None]
    smoothed = smooth(clean + noise, (0,), FPS)
    assert (smoothed - clean)[:50].std() < 0.6 * noise.std()
    assert smoothed[[60, 61, 120, 121]].min() > 0.85
    assert smoothed[[59, 62, 119, 122]].max() < 0.15


def test_smoothing_has_no_delay():
    wave = np.sin(np.arange(300) / 12).astype(np.float32)[:, None]
    noisy = wave + np.random.default_rng(1).normal(0, 0.02, wave.shape).astype(np.float32)
    smoothed = smooth(noisy, (0,), FPS)[:, 0]
    lags = [np.corrcoef(smoothed[20 + lag : 280 + lag], wave[20:280, 0])[0, 1] for lag in (-1, 0, 1)]
    assert np.argmax(lags) == 1


def test_smoothing_does_not_look_across_a_cut():
    curve = np.concatenate([np.zeros((20, 1)), np.full((20, 1), 1.0)]).astype(np.float32)
    curve += np.random.default_rng(2).normal(0, 0.5, curve.shape).astype(np.float32)
    changed = curve.copy()
    changed[20:] += 0.3
    before, after = smooth(curve, (0, 20), FPS), smooth(changed, (0, 20), FPS)
    assert np.array_equal(before[:20], after[:20])


@pytest.mark.parametrize("base", [0.05, 0.3])
def test_blinks_are_found_above_the_eyes_own_level(base):
    rng = np.random.default_rng(3)
    curve = bumps(500, (50, 180, 400), 4, 0.85, base) + rng.normal(0, 0.02, 500).astype(np.float32)
    blinks = find_blinks(curve, FPS)
    assert [round(start * FPS) for start, _ in blinks] == [50, 180, 400]
    assert all(0.1 <= end - start <= 0.25 for start, end in blinks)


def test_looking_down_and_keeping_the_eyes_closed_are_no_blinks():
    assert find_blinks(bumps(500, (100,), 120, 0.4, 0.1), FPS) == []
    assert find_blinks(bumps(500, (100,), 100, 0.9, 0.1), FPS) == []


def test_trembling_lids_are_no_blinks():
    curve = 0.15 + np.random.default_rng(4).normal(0, 0.04, 1000).astype(np.float32)
    assert find_blinks(curve, FPS) == []


def test_a_cut_is_found_and_a_moving_camera_is_not():
    rng = np.random.default_rng(5)
    first = rng.integers(0, 255, (60, 400, 3), dtype=np.uint8).repeat(4, axis=0)
    second = np.full((240, 120, 3), 200, np.uint8)
    frames = [first[:, i : i + 120] for i in range(0, 100, 5)] + [second] * 10
    cuts = [i for i, (_, is_cut) in enumerate(cut_positions(frames)) if is_cut]
    assert cuts == [0, 20]


def test_gaps_are_bridged_and_ends_held():
    values = np.array([[9], [1], [9], [9], [4], [9]], np.float32)
    known = np.array([False, True, False, False, True, False])
    assert interpolate_gaps(values, known)[:, 0].tolist() == [1, 1, 2, 3, 4, 4]
