"""``mien speak -p FOLDER``: a prepared person is the portrait and feels in their own way."""

import numpy as np
import pytest

pytest.importorskip("torch")

import soundfile
from mood_samples import mood_person
from person_samples import small_portrait

from mien.direction import Direction
from mien.errors import InputError
from mien.media.person_folder import crop_path, load_person, write_crop
from mien.pipelines.speak import SpeakOptions, speak
from mien.pipelines.speak_person import person_emotion, person_portrait
from mien.training.options import TrainDsmOptions
from mien.training.recipes.dsm import run
from mien.types import FaceMotion


@pytest.fixture(scope="module")
def person(tmp_path_factory, sample_portrait):
    folder = mood_person(tmp_path_factory.mktemp("person") / "ann", n_clips=1, n_frames=150)
    crop = small_portrait(sample_portrait, 256).image
    (folder / "clips" / "take0").mkdir()
    for index in range(150):
        write_crop(crop_path(folder, "take0", index), crop)
    run(TrainDsmOptions(folder, epochs=30))
    return folder


def test_the_portrait_is_a_calm_moment(person, monkeypatch):
    asked = []
    clip_type = type(load_person(person).clips[0])
    crop = clip_type.crop
    monkeypatch.setattr(clip_type, "crop", lambda self, index: asked.append(index) or crop(self, index))
    assert person_portrait(person).image.shape == (256, 256, 3)
    motion = load_person(person).clips[0].motion[asked[0] : asked[0] + 1]
    assert motion.column("eyeBlinkLeft")[0] == 0 and motion.column("jawOpen")[0] < 0.3


def test_they_feel_in_their_own_way(person):
    rest = FaceMotion.zeros(1, 25.0)
    lane = person_emotion(person, Direction.parse("0s:neutral, 2s:happy:0.5"), 75, 25.0, rest)
    assert np.abs(lane.expression[:30]).max() == 0
    assert lane.column("mouthSmileLeft")[-1] > 0.1
    assert np.abs(lane.column("eyeBlinkLeft")).max() == 0


def test_they_speak(person, tmp_path):
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "voice.wav", (0.1 * rng.normal(size=16_000)).astype(np.float32), 16_000)
    made = {}
    for wish in ("neutral", "happy:0.8"):
        output = tmp_path / f"{wish[:3]}.npz"
        result = speak(SpeakOptions(person, tmp_path / "voice.wav", output, wish))
        assert result.n_frames == 25
        made[wish] = FaceMotion.load(output)
    assert (made["happy:0.8"].column("mouthSmileLeft") - made["neutral"].column("mouthSmileLeft")).mean() > 0.05
    assert speak(SpeakOptions(person, tmp_path / "voice.wav", tmp_path / "out.mp4", fps=10)).n_frames == 10


def test_what_is_no_person_is_refused(person, tmp_path, sample_portrait):
    soundfile.write(tmp_path / "voice.wav", np.zeros(16_000, np.float32), 16_000)
    with pytest.raises(InputError, match="no finished folder"):
        speak(SpeakOptions(tmp_path, tmp_path / "voice.wav", tmp_path / "out.mp4"))
    with pytest.raises(InputError, match="needs to know the person"):
        speak(SpeakOptions(sample_portrait, tmp_path / "voice.wav", tmp_path / "out.mp4", renderer="person"))
    with pytest.raises(InputError, match="no trained renderer"):
        speak(SpeakOptions(person, tmp_path / "voice.wav", tmp_path / "out.mp4", renderer="person"))
    assert not (tmp_path / "out.mp4").exists()
