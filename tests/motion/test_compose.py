from dataclasses import replace

import numpy as np
import pytest
from fake_speech import make_speech

from mien.direction import LABELS, BlinkEvent, Direction
from mien.face.rhythm import speaking
from mien.face.rig import load_rig
from mien.motion.blink import blinks
from mien.motion.compose import MAX_DROOP, Voice, compose
from mien.motion.emotion import emotion
from mien.motion.gaze import gaze
from mien.motion.head import head
from mien.motion.lips import closure_frames, lips
from mien.motion.style import habits, style_of
from mien.rotations import matrix_from_axis_angle
from mien.types import ARKIT_NAMES, FaceMotion

N, FPS = 200, 25.0
SPEECH = make_speech(N, FPS)
VOICE = Voice(closure_frames(SPEECH), speaking(SPEECH))
BLINKS = (BlinkEvent(0.6), BlinkEvent(2.0, 0.2), BlinkEvent(4.4, 0.3, "left"), BlinkEvent(6.5))
FEELINGS = [label for label in LABELS if label != "neutral"]


def perform(direction="neutral", *, gain=1.0, voice=VOICE, rest=None, amount=1.0, gains=None, sources=None, pitch=0.0):
    d = Direction.parse(direction)
    return compose(
        lips(SPEECH, gain=gain), emotion=emotion(d.emotion_curve(N, FPS), FPS), blink=blinks(N, FPS, BLINKS),
        gaze=gaze(N, FPS, amount=amount, pitch=pitch), head=head(N, FPS, amount=amount, speech=SPEECH),
        habits=habits(N, FPS, style_of(d.style), SPEECH), voice=voice, gains=gains, sources=sources, rest=rest,
    )  # fmt: skip


def aperture(motion, rest=None):
    """(T,) metres between the lips where they open widest, as the rig shows the motion on the photo's face."""
    rig = load_rig()
    photo = 0 if rest is None else rest.expression
    shown = motion.with_columns(dict(zip(ARKIT_NAMES, np.clip(motion.expression + photo, 0, 1).T, strict=True)))
    vertices = rig.vertices(shown)
    upper, lower = rig.closures["lips"].T
    return (vertices[:, upper, 1] - vertices[:, lower, 1]).max(1)


def face_height():
    rig = load_rig()
    return float(np.linalg.norm(rig.template[10] - rig.template[152]))


def photo(**weights):
    return FaceMotion.zeros(1, FPS).with_columns(weights)


OPEN_SMILE = photo(jawOpen=0.15, mouthUpperUpLeft=0.4, mouthUpperUpRight=0.4, mouthSmileLeft=0.8, mouthSmileRight=0.8)


@pytest.mark.parametrize("rest", [None, OPEN_SMILE], ids=["closed photo", "open smile"])
@pytest.mark.parametrize("label", LABELS)
def test_lips_close_on_p_b_m_under_every_emotion(label, rest):
    motion = perform(f"{label}:1", rest=rest)
    closed = VOICE.closure > 0.99
    assert closed.sum() > 10
    assert aperture(motion, rest)[closed].max() < 0.005 * face_height()


@pytest.mark.parametrize("rest", [None, OPEN_SMILE], ids=["closed photo", "open smile"])
@pytest.mark.parametrize("label", LABELS)
def test_silence_keeps_the_mouth_shut_under_every_emotion(label, rest):
    still = lips(SPEECH, gain=1.0).with_columns(dict.fromkeys(ARKIT_NAMES, 0.0))
    d = Direction.parse(f"{label}:1")
    motion = compose(
        still, emotion=emotion(d.emotion_curve(N, FPS), FPS), blink=still, gaze=still, head=still, habits=still,
        voice=VOICE, rest=rest,
    )  # fmt: skip
    silent = VOICE.speaking < 0.01
    assert silent.sum() > 5
    assert np.abs(aperture(motion, rest)[silent]).max() < 0.02 * face_height()


@pytest.mark.parametrize("label", LABELS)
def test_every_blink_shuts_the_eye_and_no_emotion_makes_one(label):
    for rest in (None, photo(eyeBlinkLeft=0.3, eyeBlinkRight=0.3), photo(eyeWideLeft=0.5, eyeWideRight=0.5)):
        motion = perform(f"{label}:1", rest=rest, pitch=10)
        shown = motion.expression + (0 if rest is None else rest.expression)
        for side, wanted in (("Left", 4), ("Right", 3)):
            lid = shown[:, ARKIT_NAMES.index(f"eyeBlink{side}")]
            above = np.concatenate([[False], lid >= 0.5, [False]])
            assert np.count_nonzero(above[1:] & ~above[:-1]) == wanted
            shut = lid > 0.999
            assert np.count_nonzero(shut) >= wanted
            for stem in ("eyeWide", "eyeSquint", "eyeLookDown"):
                assert np.abs(shown[shut, ARKIT_NAMES.index(stem + side)]).max() < 0.01


def test_lids_meet_on_the_rig_at_the_peak_of_a_blink():
    rig = load_rig()
    motion = perform("fear:1")
    vertices = rig.vertices(motion)
    for side in ("left", "right"):
        upper, lower = rig.closures[f"eye_{side}"].T
        gap = (vertices[:, upper, 1] - vertices[:, lower, 1]).max(1)
        shut = motion.column(f"eyeBlink{side.capitalize()}") > 0.999
        assert gap[shut].max() < 0.1 * np.median(gap)


def test_droop_is_bounded():
    lids = FaceMotion.zeros(N, FPS).with_columns({"eyeBlinkLeft": 0.9, "eyeBlinkRight": 0.9})
    still = FaceMotion.zeros(N, FPS)
    motion = compose(still, emotion=lids, blink=still, gaze=still, head=still, habits=still)
    assert motion.column("eyeBlinkLeft").max() <= MAX_DROOP + 1e-6


def test_emotion_does_not_leak():
    base = perform("neutral")
    for label in FEELINGS:
        for intensity in (0.3, 1.0):
            motion = perform(f"{label}:{intensity}")
            np.testing.assert_array_equal(motion.head_pose, base.head_pose)
            np.testing.assert_array_equal(motion.eye_pose, base.eye_pose)
            same_sound = np.corrcoef(motion.column("jawOpen"), base.column("jawOpen"))[0, 1]
            assert same_sound > 0.9
            for name in ("mouthPucker", "mouthFunnel"):
                np.testing.assert_allclose(motion.column(name), base.column(name), atol=0.02)


@pytest.mark.parametrize("pose", [(0, 0, 0), (14, 0, 0), (-10, 20, 5)], ids=["upright", "leaning", "turned"])
def test_lips_part_as_the_speech_does_under_every_emotion(pose):
    """Movement and mean of the gap as the photo's camera sees it, in the leakage matrix's natural deviations."""
    rest = replace(photo(), head_pose=np.deg2rad([pose]).astype(np.float32))
    upright = matrix_from_axis_angle(rest.head_pose[0])[1]
    pairs = np.array([(81, 178), (13, 14), (311, 402)])

    def gap(motion):
        vertices = load_rig().vertices(replace(motion, head_pose=0 * motion.head_pose))
        parted = (vertices[:, pairs[:, 0]] - vertices[:, pairs[:, 1]]) @ upright
        return np.maximum(parted, 0).mean(1) / face_height()

    spoken = VOICE.speaking > 0.9
    base = gap(perform("neutral", rest=rest))[spoken]
    for label in FEELINGS:
        felt = gap(perform(f"{label}:1", rest=rest))[spoken]
        assert abs(felt.std() - base.std()) <= 0.1 * 0.010, label
        assert abs(felt.mean() - base.mean()) <= 0.1 * 0.025, label


def test_lip_gain_moves_nothing_but_mouth_and_jaw():
    base = perform("happy:0.5", gain=1.0)
    for gain in (0.0, 0.5, 2.0):
        motion = perform("happy:0.5", gain=gain)
        others = [i for i, name in enumerate(ARKIT_NAMES) if not name.startswith(("mouth", "jaw"))]
        np.testing.assert_array_equal(motion.expression[:, others], base.expression[:, others])
        np.testing.assert_array_equal(motion.head_pose, base.head_pose)


def test_head_and_gaze_move_no_mouth_and_no_brow():
    base, still = perform("sad:0.5"), perform("sad:0.5", amount=0.0)
    others = [i for i, name in enumerate(ARKIT_NAMES) if not name.startswith("eye")]
    np.testing.assert_array_equal(base.expression[:, others], still.expression[:, others])
    blinked = [ARKIT_NAMES.index(f"eyeBlink{side}") for side in ("Left", "Right")]
    np.testing.assert_array_equal(base.expression[:, blinked], still.expression[:, blinked])
    assert not still.head_pose.any()
    assert not still.eye_pose.any()


def test_a_regional_gain_moves_its_region_alone():
    base = perform("surprise:0.4")
    for gain in (0.0, 0.5, 1.6):
        motion = perform("surprise:0.4", gains={"brows_left": np.full(N, gain, np.float32)})
        changed = {name for name in ARKIT_NAMES if np.abs(motion.column(name) - base.column(name)).max() > 1e-6}
        assert changed <= {"browOuterUpLeft", "browInnerUp", "browDownLeft"}
        ratio = motion.column("browOuterUpLeft").mean() / base.column("browOuterUpLeft").mean()
        assert ratio == pytest.approx(gain, abs=0.05)


def test_gains_of_a_region_and_of_its_side_multiply():
    motion = perform("happy:0.5", gains={"cheeks": np.full(N, 0.5), "cheeks_right": np.zeros(N)})
    base = perform("happy:0.5")
    np.testing.assert_allclose(motion.column("cheekSquintLeft"), 0.5 * base.column("cheekSquintLeft"), atol=1e-6)
    assert not motion.column("cheekSquintRight").any()


def test_a_region_can_take_its_movement_from_a_clip():
    clip = FaceMotion.zeros(60, 50.0).with_columns({"browInnerUp": np.linspace(0, 0.6, 60), "jawOpen": 0.9})
    motion, base = perform("sad:1", sources={"brows": clip}), perform("sad:1")
    np.testing.assert_allclose(motion.column("browInnerUp")[:30], clip.resample(FPS).column("browInnerUp"), atol=1e-6)
    assert not motion.column("browDownLeft").any()
    np.testing.assert_array_equal(motion.column("jawOpen"), base.column("jawOpen"))
    halved = perform("sad:1", sources={"brows": clip}, gains={"brows": np.full(N, 0.5)})
    np.testing.assert_allclose(halved.column("browInnerUp"), 0.5 * motion.column("browInnerUp"), atol=1e-6)


def test_without_speech_the_emotion_has_the_mouth_to_itself():
    silent = FaceMotion.zeros(N, FPS)
    gasp = emotion(Direction.parse("surprise").emotion_curve(N, FPS), FPS)
    motion = compose(silent, emotion=gasp, blink=silent, gaze=silent, head=silent, habits=silent)
    np.testing.assert_allclose(motion.column("jawOpen"), gasp.column("jawOpen"), atol=1e-6)


def test_nothing_asked_nothing_moved_whatever_the_photo_shows():
    quiet = make_speech(N, FPS)
    still = FaceMotion.zeros(N, FPS)
    silence = Voice(np.zeros(N, np.float32), np.zeros(len(quiet), np.float32))
    for voice in (None, silence):
        motion = compose(still, emotion=still, blink=still, gaze=still, head=still, habits=still, voice=voice,
                         rest=OPEN_SMILE)  # fmt: skip
        assert not motion.expression.any()


def test_shown_weights_stay_in_range_on_any_photo():
    rest = photo(**dict.fromkeys(ARKIT_NAMES, 0.4))
    for label in LABELS:
        shown = perform(f"{label}:1", rest=rest).expression + rest.expression
        assert shown.min() >= -1e-6
        assert shown.max() <= 1 + 1e-6


def test_open_smile_keeps_its_corners():
    motion = perform("neutral", rest=OPEN_SMILE)
    assert motion.column("mouthSmileLeft").min() >= 0


def test_eyes_hold_the_viewer_while_the_head_turns():
    still = FaceMotion.zeros(N, FPS)
    turned = head(N, FPS, amount=0, yaw=10)
    motion = compose(still, emotion=still, blink=still, gaze=still, head=turned, habits=still)
    np.testing.assert_allclose(np.degrees(motion.eye_pose[:, :, 1]), -10, atol=1e-4)
    assert motion.column("eyeLookInLeft").min() > 0.3
    assert motion.column("eyeLookOutRight").min() > 0.3


def test_lanes_of_another_length_are_named():
    still = FaceMotion.zeros(N, FPS)
    short = FaceMotion.zeros(N - 1, FPS)
    with pytest.raises(ValueError, match=r"blink: expected 200 frames at 25 .* got 199"):
        compose(still, emotion=still, blink=short, gaze=still, head=still, habits=still)
