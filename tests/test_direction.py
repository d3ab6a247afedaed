import math

import numpy as np
import pytest

from mien.direction import (
    LABEL_ANGLES,
    LABELS,
    BlinkEvent,
    Blinks,
    Curve,
    Direction,
    EmotionKey,
    GazeTarget,
    HeadPose,
    Lips,
    Region,
    StyleChoice,
    disc_weights,
)
from mien.errors import DirectionError

FULL = Direction(
    emotion=(EmotionKey(), EmotionKey(1.2, "happy", 0.9), EmotionKey(4.1, va=(-0.6, 0.7))),
    transition=0.45,
    lips=Lips(Curve(((0, 1.2), (2.5, 0.3))), "none"),
    style=StyleChoice("lively", strength=0.7),
    blink=Blinks(Curve(((0, 12), (3, 30))), (BlinkEvent(0.5, 0.2, "left"), BlinkEvent(2.0))),
    regions={"brows_left": Region(Curve.constant(1.7)), "mouth": Region(source="clip one.npz"), "jaw": Region()},
    head=HeadPose(Curve.constant(0.5), yaw=Curve(((0, 0), (1 / 3, -7.1)))),
    gaze=GazeTarget(pitch=Curve.constant(4)),
)

FILE = """\
# a scene
emotion:
  - {at: 0, emotion: neutral}
  - at: 1.2s
    emotion: hap
    intensity: 0.9
  - at: 4
    va: [-0.6, 0.7]
lips: {gain: "0s:1, 2s:0.5", source: speech}
style: theatrical:0.5
blink:
  rate: 20
  events:
    - {at: 1, duration: 0.3, side: left}
    - 2.5
regions:
  brows: 1.4
  mouth_left: 0.5s:0
head: {amount: 0.5, yaw: [[0, 0], [2, 10]]}
gaze: 0
"""


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
@pytest.mark.parametrize("direction", [FULL, Direction(), Direction.parse(FILE)])
def test_file_round_trip_is_exact(tmp_path, direction, suffix):
    path = tmp_path / f"scène 1{suffix}"
    direction.save(path)
    assert Direction.load(path) == direction
    assert Direction.parse(str(path)) == direction
    assert Direction.from_dict(direction.to_dict()) == direction


def test_three_spellings_of_one_object():
    short = Direction.parse("0s:neutral, 1.2s:happy:0.9, 4s:va(-0.6,0.7)")
    assert short.emotion == Direction.parse(FILE).emotion
    assert short == Direction.parse("emotion: 0s:neutral, 1.2s:happy:0.9, 4s:va(-0.6,0.7)")
    assert short == Direction.parse('{"emotion": "1.2s:hap:0.9, 4s:va(-0.6, 0.7)"}')


def test_yaml_file_is_read_as_written():
    direction = Direction.parse(FILE)
    assert direction.lips.gain.keys == ((0, 1), (2, 0.5))
    assert direction.style == StyleChoice("theatrical", strength=0.5)
    assert direction.blink.events == (BlinkEvent(1, 0.3, "left"), BlinkEvent(2.5))
    assert direction.regions["mouth_left"].gain.keys == ((0, 1), (0.5, 0))  # the default stands until then
    assert direction.head.amount == Curve.constant(0.5)
    assert direction.gaze.amount == Curve.constant(0)


@pytest.mark.parametrize(
    ("alias", "label"),
    [("ang", "anger"), ("angry", "anger"), ("con", "contempt"), ("dis", "disgust"), ("fea", "fear"), ("afraid", "fear"),
     ("joy", "happy"), ("Happy", "happy"), ("neu", "neutral"), ("sad", "sad"), ("surprised", "surprise"),
     ("calm", "relaxed")],
)  # fmt: skip
def test_aliases(alias, label):
    assert Direction.parse(alias).emotion[0].label == label


def test_blink_none_and_events_alone_ask_for_no_others():
    assert Direction.parse("blink: none").blink.rate == Curve.constant(0)
    assert Direction.parse("blink: {events: [1.0]}").blink.rate == Curve.constant(0)
    assert Direction().blink.rate is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("happi:0.8", ["happi", "did you mean 'happy'", "contempt"]),
        ("happy:1.8", ["happy", "1.8", "0 to 1"]),
        ("happy:nan", ["nan", "0 to 1"]),
        ("happy:much", ["number", "much"]),
        ("va(2,0)", ["valence", "2", "-1 to 1"]),
        ("va(0.1)", ["two"]),
        ("0s:happy, 2s:sad, 1s:fear", ["0, 2, 1", "increase"]),
        ("-1s:happy", ["-1"]),
        ("", ["names no emotion"]),
        ("happy:0.8,", ["names no emotion"]),
        ("happy:", ["number"]),
        ("my scenes/one.txt", ["my scenes/one.txt: a direction is kept as .yaml"]),
        ("1:happy", ["'1' without its s", "1s:happy"]),
        ("va(0.5,0.5):0.3", ["no intensity", "':0.3'"]),
        ("emotion: happy\nlips: {gain: 3}", [":2:", "gain of lips", "3", "0 to 2"]),
        ("emotion: happy\nlps: 1", [":2:", "did you mean 'lips'", "gaze"]),
        ("lips:\n  gain: 1\n  speed: 2", [":3:", "speed", "source"]),
        ("lips:\n  source: music", [":2:", "music", "speech, voca, none"]),
        ("style: lvely", [":1:", "did you mean 'lively'"]),
        ("style:\n  strength: 3", [":2:", "0 to 2"]),
        ("style: {vector: {hed: 1}}", ["hed", "did you mean 'head'"]),
        ("blink: 61", ["61", "0 to 60"]),
        ("blink:\n  rate: 12\n  events:\n    - at: 2\n      side: top", [":4:", "top", "both, left, right"]),
        ("regions:\n  brow: 1", [":2:", "did you mean 'brows'"]),
        ("regions:\n  brows: 2.5", [":2:", "2.5", "0 to 2"]),
        ("head:\n  amount: 1\n  yaw: 90", [":3:", "yaw", "-45 to 45"]),
        ("gaze: {pitch: -40}", ["pitch", "-25 to 25"]),
        ("blink: 1\nblink: 2", [":2:", "twice"]),
        ("emotion: [happy", ["not valid YAML"]),
        ("emotion: &a happy\nlips: *b", ["not valid YAML"]),
        ("lips: &a {gain: 1}\nhead: *a", ["aliases"]),
        ("transition: 0", ["transition", "0.1 to 10"]),
        ("lips: {gain: [[0, 1, 2]]}", ["3 parts", "[seconds, value]"]),
        ("lips: !!python/object/apply:os.getcwd []", ["no keyframes"]),
    ],
)
def test_bad_directions_are_refused_with_place_value_and_range(text, expected):
    with pytest.raises(DirectionError) as caught:
        Direction.parse(text)
    message = str(caught.value)
    assert "\n" not in message
    for part in expected:
        assert part in message


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(DirectionError, match="no such file"):
        Direction.parse(str(tmp_path / "none.yaml"))
    binary = tmp_path / "b.yaml"
    binary.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(DirectionError, match=r"b\.yaml"):
        Direction.load(binary)
    empty = tmp_path / "e.yaml"
    empty.write_text("")
    with pytest.raises(DirectionError, match="empty"):
        Direction.load(empty)
    deep = tmp_path / "d.json"
    deep.write_text("[" * 20000)
    with pytest.raises(DirectionError, match=r"d\.json"):
        Direction.load(deep)
    bad = tmp_path / "scene.yaml"
    bad.write_text("emotion:\n  - happy:0.5\n  - 2s:sad:7\n")
    with pytest.raises(DirectionError, match=r"scene.yaml:3: intensity of sad is 7; allowed: 0 to 1"):
        Direction.load(bad)


def test_values_are_checked_in_python_as_well():
    with pytest.raises(DirectionError, match="0 to 1"):
        EmotionKey(0, "happy", 1.5)
    with pytest.raises(DirectionError, match="start at 0"):
        Curve(((1.0, 1.0),))
    with pytest.raises(DirectionError, match="brows"):
        Direction(regions={"eyebrow": Region()})


def test_keyframes_are_reached_at_their_time_and_held():
    direction = Direction.parse("0s:neutral, 1s:happy:0.8, 3s:sad:0.6")
    curve = direction.emotion_curve(100, 25)
    happy, sad = curve[:, LABELS.index("happy")], curve[:, LABELS.index("sad")]
    assert curve.shape == (100, len(LABELS))
    np.testing.assert_allclose(curve.sum(1), 1, atol=1e-6)
    assert happy[9] == 0  # 0.36 s: the transition of 0.6 s has not begun
    assert 0 < happy[20] < 0.8
    np.testing.assert_allclose(happy[25:60], 0.8, atol=1e-6)
    np.testing.assert_allclose(sad[75:], 0.6, atol=1e-6)
    np.testing.assert_allclose(happy[75:], 0, atol=1e-6)


def test_curves_are_smooth_and_do_not_depend_on_the_rate():
    direction = Direction.parse("0s:neutral, 1s:happy, 1.3s:sad, 2s:va(0.2,-0.9)")
    fine = direction.emotion_curve(3000, 1000)
    assert np.abs(np.diff(fine, axis=0)).max() < 0.008  # 1.875 per 0.3 s is 0.00625 per ms
    assert np.abs(np.diff(fine, 2, axis=0)).max() < 1e-4
    np.testing.assert_allclose(direction.emotion_curve(75, 25), fine[::40], atol=1e-6)


def test_tempo_shortens_transitions():
    direction = Direction.parse("0s:neutral, 1s:happy")
    happy = LABELS.index("happy")
    assert direction.emotion_curve(25, 25, tempo=3.0)[20, happy] < direction.emotion_curve(25, 25)[20, happy]


def test_emotion_track_meets_the_asked_points():
    direction = Direction.parse("0s:va(0.3,-0.8), 2s:va(-0.6,0.7), 4s:happy:0.5")
    track = direction.emotion_track(126, 25)
    np.testing.assert_allclose(track.va[[0, 50]], [[0.3, -0.8], [-0.6, 0.7]], atol=1e-6)
    angle = math.radians(LABEL_ANGLES["happy"])
    np.testing.assert_allclose(track.va[100], [0.5 * math.cos(angle), 0.5 * math.sin(angle)], atol=1e-6)


@pytest.mark.parametrize("label", LABEL_ANGLES)
def test_label_and_its_point_are_the_same_face(label):
    key = EmotionKey(0, label, 0.7)
    np.testing.assert_allclose(disc_weights(*key.point), key.weights, atol=1e-5)


def test_every_point_of_the_disc_has_a_face_and_neighbours_are_alike():
    angles, radii = np.radians(np.arange(0, 361)), np.linspace(0, 1, 21)
    grid = np.array([[disc_weights(r * math.cos(a), r * math.sin(a)) for a in angles] for r in radii])
    np.testing.assert_allclose(grid.sum(-1), 1, atol=1e-5)
    assert grid.min() >= 0
    np.testing.assert_allclose(
        1 - grid[..., LABELS.index("neutral")], np.broadcast_to(radii[:, None], (21, 361)), atol=1e-5
    )
    assert np.abs(np.diff(grid, axis=1)).max() < 0.08  # per degree: the narrowest gap between labels is 20 degrees
    assert np.abs(np.diff(grid, axis=0)).max() < 0.06
    calm = grid[-1, 242:330]
    assert calm[:, [LABELS.index(n) for n in ("tired", "relaxed", "happy", "sad")]].sum(-1).min() > 0.999


def test_files_are_found_beside_the_direction_then_from_here(tmp_path, monkeypatch):
    (tmp_path / "scenes").mkdir()
    (tmp_path / "elsewhere").mkdir()
    for place in ("scenes/both.npz", "elsewhere/both.npz", "elsewhere/here.mp4"):
        (tmp_path / place).touch()
    scene = tmp_path / "scenes" / "scene.yaml"
    scene.write_text("style: both.npz\nregions: {brows: {source: here.mp4}, jaw: {source: /far/away.csv}}\n")
    monkeypatch.chdir(tmp_path / "elsewhere")
    direction = Direction.load(scene)
    assert direction.files == {
        "style.reference": str(tmp_path / "scenes" / "both.npz"),
        "regions.brows.source": "here.mp4",
        "regions.jaw.source": "/far/away.csv",
    }
    assert direction.with_files(str.upper).regions["brows"].source == "HERE.MP4"
    assert Direction.parse("happy").with_files(str.upper) == Direction.parse("happy")


@pytest.mark.parametrize("content", [{}, {"emotion": "0s:happy:0.9", "lips": {"gain": "0s:1, 3s:1.4"}, "blink": 20}])
def test_a_direction_is_shown_in_a_line_that_makes_it_again(content):
    direction = Direction.from_dict(content)
    assert eval(repr(direction), {"Direction": Direction}) == direction  # noqa: S307
    assert len(repr(direction)) < 120
