"""Measures of curves, landmarks, sound, emotion and meshes: by hand, and on output that is broken on purpose."""

import numpy as np
import pytest
from scipy import stats

from mien import metrics
from mien.types import ActionUnits, Audio, Emotion, Phone

FPS = 25


def test_correlations():
    x = np.array([1.0, 2, 3, 4])
    y = [1, 10, 100, 90]
    assert metrics.pearson(x, 2 * x + 1) == pytest.approx(1)
    assert metrics.pearson(x, np.ones(4)) == 0
    assert metrics.spearman(x, y) == pytest.approx(0.8) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert metrics.ccc(x, x + 1) == pytest.approx(2 * 1.25 / (1.25 + 1.25 + 1))
    assert metrics.rmse(x, [1, 2, 3, 8]) == 2
    assert metrics.r_squared(x, y) == pytest.approx(stats.linregress(x, y).rvalue ** 2)


def test_bootstrap_interval_holds_the_mean_and_shrinks_with_the_sample():
    rng = np.random.default_rng(0)
    few, many = rng.normal(5, 1, 10), rng.normal(5, 1, 1000)
    (low, high), (near, far) = metrics.bootstrap_interval(few), metrics.bootstrap_interval(many)
    assert low < few.mean() < high and far - near < (high - low) / 5
    # The interval of a mean is about ± 1.96 s / √n.
    assert far - near == pytest.approx(2 * 1.96 * many.std() / 1000**0.5, rel=0.1)
    assert metrics.bootstrap_interval([3.0]) == (3, 3)


def face(gap: float = 0.0, lids: float = 6.0, brows: tuple[float, float] = (15.0, 15.0)) -> np.ndarray:
    """Points where the measures look: eyes 50 px apart at y = 0, a face 100 px high."""
    points = np.zeros((478, 3), np.float32)
    points[33], points[263] = (0, 0, 0), (50, 0, 0)
    points[133], points[362] = (20, 0, 0), (30, 0, 0)
    points[10], points[152] = (25, -50, 0), (25, 50, 0)
    for upper, lower in ((81, 178), (13, 14), (311, 402)):
        points[upper], points[lower] = (25, 20, 0), (25, 20 + gap, 0)
    for upper, lower in ((160, 144), (158, 153), (387, 373), (385, 380)):
        points[upper], points[lower] = (10, -lids / 2, 0), (10, lids / 2, 0)
    points[[70, 63, 105, 66, 107]] = (10, -brows[0], 0)
    points[[300, 293, 334, 296, 336]] = (40, -brows[1], 0)
    return points


def turned(points: np.ndarray, degrees: float) -> np.ndarray:
    """Points turned in the picture plane, counter-clockwise as the viewer sees it."""
    angle = np.deg2rad(degrees)
    matrix = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    return (points @ matrix.T).astype(np.float32)


def test_lip_aperture_is_the_gap_over_the_face_height():
    assert metrics.lip_aperture(face(5.0)) == pytest.approx(0.05)
    assert metrics.lip_aperture(np.stack([face(0), face(10)])).tolist() == pytest.approx([0, 0.1])


def test_eye_openness_and_brows_do_not_mind_a_tilted_head():
    for degrees in (0, 30):
        seen = turned(face(lids=6, brows=(15, 20)), degrees)
        assert metrics.eye_openness(seen).tolist() == pytest.approx([0.3, 0.3], abs=1e-5)  # 6 of 20 px
        assert metrics.brow_heights(seen).tolist() == pytest.approx([0.3, 0.4], abs=1e-5)  # 15 and 20 of 50 px
    assert metrics.eye_openness(face(lids=1)).tolist() == pytest.approx([0.05, 0.05])


def test_landmark_distance_in_per_cent_of_the_eye_distance():
    moved = face() + np.array([3, 4, 0], np.float32)
    assert metrics.landmark_distance(face(), moved) == pytest.approx(10)


def test_centred_distance_forgives_a_shift_and_nothing_else():
    truth = np.random.default_rng(0).uniform(0, 100, (4, 68, 2)).astype(np.float32)
    truth[:, 36], truth[:, 45] = (0, 50), (80, 50)
    assert metrics.centred_distance(truth, truth + 7) == pytest.approx(0, abs=1e-4)
    broken = truth.copy()
    broken[:, 48, 0] += 17  # one mouth corner is off: of 20 lip points, and so of the middle, 17 / 20
    by_hand = (17 * 19 / 20 + 19 * 17 / 20) / 20
    assert metrics.centred_distance(truth, broken, mouth=True) == pytest.approx(by_hand, abs=1e-4)
    assert metrics.centred_distance(truth, broken, mouth=True, per_cent=True) == pytest.approx(by_hand / 0.8, abs=1e-3)
    assert metrics.centred_distance(truth, broken) < metrics.centred_distance(truth, broken, mouth=True)


def test_head_angles_of_a_tilted_head():
    rng = np.random.default_rng(1)
    points = rng.normal(0, 50, (478, 3)).astype(np.float32)
    clip = np.stack([turned(points, degrees) for degrees in (-4, -2, 0, 2, 4)])
    assert metrics.head_angles(clip)[:, 2].tolist() == pytest.approx([-4, -2, 0, 2, 4], abs=0.05)
    assert np.abs(metrics.head_angles(clip)[:, :2]).max() < 0.05


def test_a_steadied_face_keeps_its_expression_and_loses_its_turn():
    rng = np.random.default_rng(1)
    points = rng.normal(0, 50, (478, 3)).astype(np.float32)
    smiling = points.copy()
    smiling[61] += (5, 3, 0)
    clip = np.stack([1.1 * turned(smiling, 7) + 20, turned(points, -3)])
    assert np.abs(metrics.steadied(clip, points) - [smiling, points]).max() < 1e-3


def test_lips_that_move_in_silence_are_flagged():
    level = np.repeat([0.0, -60, 0], 20)
    speech = 0.05 + 0.04 * np.sin(np.arange(60))
    still = np.where(level < -45, 0.01, speech)
    assert metrics.silent_lip_stability(still, level) == pytest.approx(0, abs=1e-9)
    assert metrics.silent_lip_stability(speech, level) == pytest.approx(1, abs=0.1)
    assert np.isnan(metrics.silent_lip_stability(speech, np.zeros(60)))


def test_average_expression_distance_sums_over_shapes():
    truth = np.zeros((2, 3))
    other = np.array([[0.1, -0.2, 0], [0, 0, 0.5]])
    assert metrics.average_expression_distance(truth, other) == pytest.approx((0.3 + 0.5) / 2)


def test_head_pose_distance_wraps_around():
    assert metrics.head_pose_distance([[359, 0, 0]], [[1, 3, 0]]) == pytest.approx((2 + 3 + 0) / 3)


def test_closure_rate_counts_only_bilabials():
    aperture = np.array([0.1, 0.1, 0.0, 0.1, 0.1, 0.1, 0.1, 0.1])
    phones = [Phone("M", 0.2, 0.3), Phone("P", 0.5, 0.6), Phone("S", 0.6, 0.7)]
    assert metrics.closure_rate(aperture, 10, phones) == 0.5
    assert metrics.closure_rate(aperture + 0.05, 10, phones) == 0  # a mouth that never shuts
    assert np.isnan(metrics.closure_rate(aperture, 10, phones[2:]))


def test_blinks_with_hysteresis():
    curve = [0, 0.6, 1, 0.4, 0.6, 0.2, 0, 0.45, 0, 0.7]
    assert metrics.blink_times(curve, 10) == [0.2, 0.9]  # the dip to 0.4 does not split, 0.45 is no blink
    assert metrics.match_events([1.0, 2.0], [1.05, 3.0], 0.1) == (1, 1, 1)


def test_a_blinks_width_at_half_its_height():
    # Crosses 0.5 halfway between 0 and 1, on either side of frames 2 to 3: 2 frames wide.
    (blink,) = metrics.blinks_of([0, 0, 1, 1, 0, 0], 10)
    assert (blink.time, blink.duration, blink.depth) == (0.2, pytest.approx(0.2), 1)
    assert metrics.blink_rate([blink] * 4, 16.0) == 15


def test_lids_are_judged_against_the_open_eye_of_the_moment():
    openness = np.full(200, 0.3)
    openness[50:53] = 0.05  # a blink
    openness[100:] = 0.21  # squints from here on
    openness[150:153] = 0.05  # and blinks
    closure = metrics.closure_from_openness(openness, FPS)
    assert metrics.blink_times(closure, FPS) == [2.0, 6.0]
    assert metrics.blink_times(np.zeros(200), FPS) == []  # eyes that never blink


def sound_and_mouth(n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    smooth = np.convolve(rng.normal(size=n + 20), np.hanning(9), "same")[:n]
    return np.stack([smooth, rng.normal(size=n)], 1), np.stack([smooth, -smooth], 1) + 0.3 * rng.normal(size=(n, 2))


def test_sync_score_finds_the_delay_and_falls_for_permuted_sound():
    sound, mouth = sound_and_mouth()
    late = np.roll(mouth, 3, axis=0)
    assert metrics.sync_score(sound, mouth, FPS).lag == 0
    score = metrics.sync_score(sound, late, FPS)
    assert score.lag == pytest.approx(3 / FPS) and score.best > 0.8
    shuffled = metrics.sync_score(np.random.default_rng(1).permutation(sound), mouth, FPS)
    assert shuffled.at_zero < 0.2 < score.best
    with pytest.raises(ValueError, match="4 s"):
        metrics.sync_score(sound[:50], mouth[:50], FPS)


def test_log_mel_stands_where_the_tone_is_and_when():
    time = np.arange(32_000) / 16_000
    mel = 10 / 27 * 2595 * np.log10(1 + 8000 / 700)  # middle of the tenth of 26 bands
    tone = 700 * (10 ** (mel / 2595) - 1)
    audio = Audio(np.where(time >= 1, 0.5 * np.sin(2 * np.pi * tone * time), 0).astype(np.float32), 16_000)
    bands = metrics.log_mel(audio, FPS, 50)
    own = bands[:, 2 * 26 : 3 * 26]
    assert own[40].argmax() == 9
    assert own[:24].max() < own[26:].max() - 10
    assert np.array_equal(bands[10:, :26], own[8:-2])  # the first columns are two frames back
    with pytest.raises(ValueError, match="16000 Hz"):
        metrics.log_mel(Audio(np.zeros(8000, np.float32), 8000), FPS, 10)


def test_sound_level_in_decibels_below_speech():
    audio = Audio(np.repeat([0.1, 0.001], 16_000).astype(np.float32), 16_000)
    level = metrics.sound_level(audio, FPS, 60)
    assert level[:25].tolist() == pytest.approx([0] * 25, abs=0.01)
    assert level[25:50].tolist() == pytest.approx([-40] * 25, abs=0.01)
    assert level[-1] <= -90  # the picture lasts longer than the sound


def test_emotion_accuracy_and_a_face_that_never_changes():
    labels = (Emotion.HAPPY, Emotion.SAD)
    asked = [Emotion.HAPPY, Emotion.HAPPY, Emotion.SAD, Emotion.SAD]
    assert metrics.emotion_accuracy(asked, [[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0, 1]], labels) == 0.75
    assert metrics.emotion_accuracy(asked, [[0.9, 0.1]] * 4, labels) == 0.5


def test_va_error_by_hand_and_on_a_flipped_sign():
    truth = np.array([[0.5, 0.2], [-0.5, 0.4]])
    exact, flipped = metrics.va_error(truth, truth), metrics.va_error(truth, -truth)
    assert exact["valence_ccc"] == exact["arousal_pcc"] == exact["valence_sagr"] == pytest.approx(1)
    assert exact["valence_rmse"] == 0
    assert flipped["valence_rmse"] == pytest.approx(1) and flipped["valence_sagr"] == 0
    assert flipped["valence_ccc"] == pytest.approx(-1)


def test_au_error_in_openfaces_intensities():
    truth = ActionUnits(np.array([[0.2, 0.0], [0.4, 0.0]]), ("AU1", "AU12"), FPS)
    other = ActionUnits(np.array([[1.0, 0.4], [1.0, 0.4]]), ("AU12", "AU1"), FPS)
    found = metrics.au_error(truth, other)
    assert found["AU1"] == pytest.approx(0.5) and found["AU12"] == pytest.approx(5)
    assert found["mean"] == pytest.approx(2.75)
    with pytest.raises(ValueError, match="in common"):
        metrics.au_error(truth, ActionUnits(np.zeros((2, 1)), ("AU9",), FPS))


def test_lip_vertex_error_in_both_conventions():
    truth, other = np.zeros((2, 4, 3), np.float32), np.zeros((2, 4, 3), np.float32)
    other[0, 1] = (0.003, 0.004, 0)  # 5 mm
    other[1, 2] = (0, 0, 0.001)
    other[1, 3] = 1  # no lip
    lips = np.array([0, 1, 2])
    assert metrics.lip_vertex_error(truth, other, lips) == pytest.approx((5 + 1) / 2)
    assert metrics.lip_vertex_error(truth, other, lips, "squared") == pytest.approx((25e-6 + 1e-6) / 2)
    assert metrics.lip_vertex_error(truth, truth, lips) == 0
    one = metrics.lip_vertex_error(truth[:1], other[:1], lips, "squared")
    assert metrics.lip_vertex_error(truth[:1], other[:1], lips) == pytest.approx(1000 * one**0.5)


def test_mean_vertex_error_in_mm():
    truth, other = np.zeros((2, 2, 3), np.float32), np.zeros((2, 2, 3), np.float32)
    other[0, 0] = (0.003, 0.004, 0)
    assert metrics.mean_vertex_error(truth, other) == pytest.approx(5 / 4)


def test_upper_face_dynamics_is_positive_for_a_face_that_is_frozen():
    template = np.zeros((3, 3), np.float32)
    truth = np.zeros((2, 3, 3), np.float32)
    truth[1, 0, 1] = 0.002  # squared displacement 0 and 4e-6, deviation 2e-6
    frozen = np.zeros_like(truth)
    upper = np.array([0, 1])
    assert metrics.upper_face_dynamics(truth, frozen, template, upper) == pytest.approx(1e-6)
    assert metrics.upper_face_dynamics(frozen, truth, template, upper) == pytest.approx(-1e-6)
    assert metrics.upper_face_dynamics(truth, truth, template, upper) == 0
