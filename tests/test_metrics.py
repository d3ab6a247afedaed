import numpy as np
import pytest

from mien import metrics
from mien.types import Phone


def test_psnr_against_a_value_worked_by_hand():
    a = np.zeros((4, 4, 3), np.uint8)
    b = a.copy()
    b[0, 0, 0] = 48  # MSE = 48² / 48 = 48
    assert metrics.psnr(a, b) == pytest.approx(10 * np.log10(255**2 / 48))
    assert metrics.psnr(a, a) == float("inf")
    with pytest.raises(ValueError, match="shape"):
        metrics.psnr(a, b[:2])


def test_correlations():
    x = np.array([1.0, 2, 3, 4])
    assert metrics.pearson(x, 2 * x + 1) == pytest.approx(1)
    assert metrics.pearson(x, np.ones(4)) == 0
    assert metrics.spearman(x, [1, 10, 100, 90]) == pytest.approx(0.8)
    assert metrics.ccc(x, x + 1) == pytest.approx(2 * 1.25 / (1.25 + 1.25 + 1))


def face(gap: float = 0.0) -> np.ndarray:
    points = np.zeros((478, 3), np.float32)
    points[33], points[263] = (0, 0, 0), (50, 0, 0)
    points[10], points[152] = (25, -50, 0), (25, 50, 0)
    for upper, lower in ((81, 178), (13, 14), (311, 402)):
        points[upper], points[lower] = (25, 20, 0), (25, 20 + gap, 0)
    return points


def test_lip_aperture_is_the_gap_over_the_face_height():
    assert metrics.lip_aperture(face(5.0)) == pytest.approx(0.05)
    assert metrics.lip_aperture(np.stack([face(0), face(10)])).tolist() == pytest.approx([0, 0.1])


def test_landmark_distance_in_per_cent_of_the_eye_distance():
    moved = face() + np.array([3, 4, 0], np.float32)
    assert metrics.landmark_distance(face(), moved) == pytest.approx(10)


def test_closure_rate_counts_only_bilabials():
    aperture = np.array([0.1, 0.1, 0.0, 0.1, 0.1, 0.1, 0.1, 0.1])
    phones = [Phone("M", 0.2, 0.3), Phone("P", 0.5, 0.6), Phone("S", 0.6, 0.7)]
    assert metrics.closure_rate(aperture, 10, phones) == 0.5
    assert np.isnan(metrics.closure_rate(aperture, 10, phones[2:]))


def test_blinks_with_hysteresis():
    curve = [0, 0.6, 1, 0.4, 0.6, 0.2, 0, 0.45, 0, 0.7]
    assert metrics.blink_times(curve, 10) == [0.2, 0.9]  # the dip to 0.4 does not split, 0.45 is no blink
    assert metrics.match_events([1.0, 2.0], [1.05, 3.0], 0.1) == (1, 1, 1)


def test_sync_score_finds_the_delay_and_falls_for_permuted_sound():
    rng = np.random.default_rng(0)
    fps, n = 25, 400
    smooth = np.convolve(rng.normal(size=n + 20), np.hanning(9), "same")[:n]
    sound = np.stack([smooth, rng.normal(size=n)], 1)
    mouth = np.stack([smooth, -smooth], 1) + 0.3 * rng.normal(size=(n, 2))
    late = np.roll(mouth, 3, axis=0)
    assert metrics.sync_score(sound, mouth, fps).lag == 0
    score = metrics.sync_score(sound, late, fps)
    assert score.lag == pytest.approx(3 / fps) and score.best > 0.8
    shuffled = metrics.sync_score(rng.permutation(sound), mouth, fps)
    assert shuffled.at_zero < 0.2 < score.best
    with pytest.raises(ValueError, match="4 s"):
        metrics.sync_score(sound[:50], mouth[:50], fps)


def test_lip_vertex_error_is_the_worst_lip_vertex_in_mm():
    truth, other = np.zeros((2, 4, 3), np.float32), np.zeros((2, 4, 3), np.float32)
    other[0, 1] = (0.003, 0.004, 0)  # 5 mm
    other[1, 2] = (0, 0, 0.001)
    other[1, 3] = 1  # no lip
    assert metrics.lip_vertex_error(truth, other, np.array([0, 1, 2])) == pytest.approx((5 + 1) / 2)
    assert metrics.lip_vertex_error(truth, truth, np.array([0, 1, 2])) == 0
