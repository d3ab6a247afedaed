"""Reenact: the portrait does what the driver does, and nothing that was not asked for."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mien import metrics
from mien.errors import FormatError, InputError, NoFaceError, OutputError
from mien.face.rig import load_rig
from mien.media.image import read_image
from mien.media.livelink import write_livelink
from mien.media.openface import read_openface, write_openface
from mien.media.provenance import read_provenance
from mien.media.video import VideoReader, write_video
from mien.motion.transfer import Driver, Manner, calmest, follow
from mien.perception.geometry import find_lid_closure
from mien.perception.landmarks import MediapipeBackend
from mien.perception.tracking import beyond_rig, track_image, track_video
from mien.pipelines.reenact import ReenactOptions, motion_of_controls, parse_controls, reenact, warped
from mien.rendering.warp import WarpRenderer
from mien.types import ActionUnits, FaceMotion

FPS = 20
SMILE = ("mouthSmileLeft", "mouthSmileRight")


@pytest.fixture(scope="module")
def photo(sample_portrait, tmp_path_factory):
    path = tmp_path_factory.mktemp("reenact") / "photo.png"
    with Image.open(sample_portrait) as picture:
        picture.resize((288, 338)).save(path)
    return path


@pytest.fixture(scope="module")
def portrait(photo):
    return track_image(read_image(photo))


@pytest.fixture(scope="module")
def acted():
    """Speaks, blinks once, smiles, turns, comes nearer."""
    t = np.arange(24) / 24
    blink = np.exp(-(((t - 0.5) / 0.05) ** 2))
    motion = FaceMotion.zeros(24, FPS).with_columns(
        {
            "jawOpen": 0.5 * np.sin(np.pi * 3 * t) ** 2,
            "eyeBlinkLeft": blink,
            "eyeBlinkRight": blink,
            **dict.fromkeys(SMILE, 0.6 * t),
        }
    )
    head, place = np.zeros((24, 3)), np.zeros((24, 3))
    head[:, 1], place[:, 0], place[:, 2] = 0.15 * np.sin(2 * np.pi * t), 0.01 * t, 0.03 * t
    return replace(motion, head_pose=head, translation=place)


@pytest.fixture(scope="module")
def clip(portrait, acted, tmp_path_factory):
    """A driving clip that starts with the photo itself, with sound."""
    import soundfile

    path = tmp_path_factory.mktemp("clip") / "driver.mp4"
    sound = path.with_suffix(".wav")
    soundfile.write(sound, 0.1 * np.sin(np.arange(19_200) / 10), 16_000)
    write_video(path, WarpRenderer(portrait).render(acted), FPS, sound=sound, crf=10)
    return path


@pytest.fixture(scope="module")
def seen(clip):
    return track_video(clip)


def landmarks_of(frames):
    backend = MediapipeBackend()
    return np.stack([backend.detect(frame)[0] for frame in frames])


def test_a_clip_that_drives_its_own_first_frame_is_followed(clip, seen):
    frames = list(VideoReader(clip))
    portrait = track_image(frames[0])
    driver = Driver(seen.motion, seen.cameras[:, 0], seen.identity, beyond_rig(seen))
    made = list(warped(portrait, follow(driver, portrait.rest, portrait.identity, Manner())))
    truth, again = landmarks_of(frames), landmarks_of(made)
    still = np.repeat(truth[:1], len(truth), 0)
    assert metrics.landmark_distance(truth, again) <= 2.5 < metrics.landmark_distance(truth, still)
    assert metrics.pearson(metrics.lip_aperture(truth), metrics.lip_aperture(again)) >= 0.9
    every = np.ones(len(truth), bool)
    lids = [find_lid_closure(load_rig(), clip.landmarks, every) for clip in (seen, track_video(made, fps=FPS))]
    assert metrics.pearson(*lids) >= 0.9


def test_the_verb_keeps_sound_rate_and_size(clip, photo, tmp_path):
    made = reenact(ReenactOptions(photo, str(clip), tmp_path / "out.mp4"))
    reader = VideoReader(tmp_path / "out.mp4")
    assert (made.n_frames, made.fps, made.renderer) == (24, FPS, "warp")
    assert reader.has_sound
    assert reader.size == (338, 288)
    assert len(list(reader)) == 24
    assert read_provenance(tmp_path / "out.mp4")["synthetic"]


def test_relative_to_the_first_frame_the_portrait_starts_as_it_is(portrait, seen):
    driver = Driver(seen.motion, seen.cameras[:, 0], seen.identity, beyond_rig(seen))
    frame = next(warped(portrait, follow(driver, portrait.rest, portrait.identity, Manner())))
    np.testing.assert_array_equal(frame, portrait.image)


@pytest.mark.parametrize(("part", "names"), [("head", ()), ("gaze", ()), ("blink", ("eyeBlinkLeft", "eyeBlinkRight"))])
def test_what_shall_not_follow_stays(portrait, acted, part, names):
    motion = replace(acted, eye_pose=np.full((24, 2, 3), 0.1) * np.arange(24)[:, None, None] / 24)
    driver = Driver(motion, np.linspace(1, 1.1, 24, dtype=np.float32))
    every = follow(driver, portrait.rest, portrait.identity, Manner())
    fewer = follow(driver, portrait.rest, portrait.identity, Manner(**{part: False}))
    kept = {"head": (fewer.motion.head_pose, fewer.shift, fewer.nearer - 1), "gaze": (fewer.motion.eye_pose,)}
    kept["blink"] = tuple(fewer.motion.column(name) for name in names)
    assert not any(np.any(values) for values in kept[part])
    same = [name for name in motion.expression_names if name not in names]
    for name in same:
        np.testing.assert_array_equal(fewer.motion.column(name), every.motion.column(name))


def test_absolute_shows_what_the_driver_shows(portrait, acted):
    followed = follow(Driver(acted, np.ones(24)), portrait.rest, portrait.identity, Manner(relative=False))
    shown = followed.motion.expression + portrait.rest.expression
    np.testing.assert_allclose(shown, acted.expression, atol=1e-6)


def test_lids_that_the_driver_shuts_are_shut_whatever_the_tracker_read_before(portrait):
    half_open = FaceMotion.zeros(2, FPS).with_columns({"eyeBlinkLeft": [0.3, 1.0], "eyeBlinkRight": [0.3, 1.0]})
    followed = follow(Driver(half_open, np.ones(2)), portrait.rest, portrait.identity, Manner())
    assert portrait.rest.column("eyeBlinkLeft")[0] + followed.motion.column("eyeBlinkLeft")[1] == pytest.approx(1)


def test_a_driver_who_begins_in_mid_word_opens_closed_lips(portrait):
    speaks = FaceMotion.zeros(3, FPS).with_columns({"jawOpen": [0.6, 0.0, 0.6]})
    followed = follow(Driver(speaks, np.ones(3)), portrait.rest, portrait.identity, Manner())
    shown = portrait.rest.column("jawOpen")[0] + followed.motion.column("jawOpen")
    np.testing.assert_allclose(shown, [0.6, 0, 0.6], atol=1e-6)


def test_the_calmest_frame_is_found(acted):
    head = np.full((24, 3), 0.4)
    head[7] = 0
    lively = replace(acted.with_columns({"browInnerUp": np.where(np.arange(24) == 7, 0, 0.9)}), head_pose=head)
    assert calmest(lively) == 7


def test_a_head_goes_no_further_than_the_picture_bears(portrait):
    far = replace(FaceMotion.zeros(2, FPS), translation=np.array([[0, 0, 0], [0.5, 0.3, 0]]))
    followed = follow(Driver(far, np.array([1, 3], np.float32)), portrait.rest, portrait.identity, Manner())
    after = track_image(list(warped(portrait, followed))[1])
    moved = (after.landmarks[:468, :2].mean(0) - portrait.landmarks[:468, :2].mean(0)) / portrait.camera[0]
    assert 0.01 < np.linalg.norm(moved) < 0.25
    assert 1 < after.camera[0] / portrait.camera[0] < 1.7


def test_motion_files_drive(photo, acted, tmp_path):
    acted.save(tmp_path / "a.npz")
    write_livelink(tmp_path / "b.csv", acted)
    units = ActionUnits(np.tile(np.linspace(0, 0.8, 10)[:, None], (1, 2)), ("AU12", "AU26"), 25)
    write_openface(tmp_path / "c.csv", units, np.zeros((10, 3)), np.ones(10, bool))
    assert len(read_openface(tmp_path / "c.csv").units) == 10
    for name, n_frames in (("a.npz", 24), ("b.csv", 24), ("c.csv", 10)):
        made = reenact(ReenactOptions(photo, str(tmp_path / name), tmp_path / f"{name}.mp4"))
        assert made.n_frames == n_frames
        frames = list(VideoReader(tmp_path / f"{name}.mp4"))
        assert np.abs(frames[0].astype(int) - frames[-1]).max() > 30
    resampled = reenact(ReenactOptions(photo, str(tmp_path / "c.csv"), tmp_path / "d.gif", fps=50))
    assert resampled.n_frames == 20


def test_controls_are_added_and_seen_again(photo, portrait, tmp_path):
    reenact(ReenactOptions(photo, "jawOpen=0.6, yaw=10", tmp_path / "out.png"))
    after = track_image(read_image(tmp_path / "out.png"))
    assert after.rest.column("jawOpen")[0] > portrait.rest.column("jawOpen")[0] + 0.2
    assert 5 < np.rad2deg(after.rest.head_pose[0, 1] - portrait.rest.head_pose[0, 1]) < 15
    reenact(ReenactOptions(photo, "AU12=0", tmp_path / "same.png"))
    np.testing.assert_array_equal(read_image(tmp_path / "same.png"), portrait.image)


def test_controls_come_in_and_go_in_a_video(photo, tmp_path):
    made = reenact(ReenactOptions(photo, "AU26=5", tmp_path / "out.mp4"))
    frames = [frame.astype(int) for frame in VideoReader(tmp_path / "out.mp4")]
    change = [np.abs(frame - frames[0]).mean() for frame in frames]
    assert made.n_frames == len(frames) == 51
    assert change[25] > 3 * change[-1]


def test_controls_by_name():
    controls = parse_controls("au12=3, AU01=2.5, jawopen=0.5, yaw=-10, AU12L=1")
    assert controls == {"AU12": 3, "AU1": 2.5, "jawOpen": 0.5, "yaw": -10, "AU12L": 1}
    motion = motion_of_controls(controls)
    assert motion.column("mouthSmileLeft")[0] == pytest.approx(0.8)
    assert motion.column("mouthSmileRight")[0] == pytest.approx(0.6)
    assert motion.column("browInnerUp")[0] == pytest.approx(0.5)
    np.testing.assert_allclose(motion.head_pose[0], [0, np.deg2rad(-10), 0], atol=1e-6)


def test_a_picture_drives_with_its_expression(photo, portrait, tmp_path):
    motion = FaceMotion.zeros(1, 25).with_columns({"jawOpen": 0.7})
    Image.fromarray(next(WarpRenderer(portrait).render(motion))).save(tmp_path / "driver.png")
    reenact(ReenactOptions(photo, str(tmp_path / "driver.png"), tmp_path / "out.png"))
    opened = track_image(read_image(tmp_path / "out.png")).rest.column("jawOpen")[0]
    wanted = track_image(read_image(tmp_path / "driver.png")).rest.column("jawOpen")[0]
    assert opened == pytest.approx(wanted, abs=0.15)


@pytest.mark.parametrize(
    ("changed", "error", "says"),
    [
        ({"driving": "nothing.mp4"}, InputError, "no such file"),
        ({"driving": "a smile"}, InputError, "not controls either"),
        ({"driving": "AU99=3"}, InputError, "no control"),
        ({"driving": "jawOpn=1"}, InputError, "did you mean jawOpen"),
        ({"driving": "AU12=7"}, InputError, "-5 to 5"),
        ({"driving": "AU12=x"}, InputError, "is no number"),
        ({"renderer": "icface"}, InputError, "needs weights"),
        ({"strength": 3.0}, InputError, "0 to 2"),
        ({"fps": 0.0}, InputError, "--fps is 0"),
        ({"face": 0}, InputError, "--face is 0"),
        ({"output": "out.xyz"}, OutputError, ".mp4"),
        ({"driving": "portrait"}, OutputError, "the input itself"),
        ({"driving": "broken.csv", "output": "out.mp4"}, FormatError, "no Live Link Face file"),
        ({"driving": "plain.png"}, NoFaceError, "no face found"),
    ],
)
def test_bad_requests_are_refused(photo, tmp_path, changed, error, says):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "broken.csv").write_text("a,b\n1,2\n")
    Image.new("RGB", (80, 80), (9, 9, 9)).save(folder / "plain.png")
    driving = changed.get("driving", "AU12=3")
    if (folder / driving).exists():
        changed = changed | {"driving": str(folder / driving)}
    options = {"portrait": photo, "driving": "AU12=3", "output": tmp_path / "out.png"} | changed
    if driving == "portrait":
        options |= {"driving": "AU12=3", "output": photo}
    options["output"] = tmp_path / options["output"]
    with pytest.raises(error, match=says):
        reenact(ReenactOptions(**options))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]
