"""Training ICface in the small: it learns, goes on where it stopped, and its weights are read again."""

import shutil

import numpy as np
import pytest
import torch

from mien.errors import InputError
from mien.media.image import read_image
from mien.media.video import write_video
from mien.perception.tracking import track_image
from mien.rendering.icface import IcfaceConfig, load_icface
from mien.rendering.warp import WarpRenderer
from mien.training.options import TrainIcfaceOptions
from mien.training.recipes.icface import face_track, open_clips, run
from mien.types import FaceMotion

SMALL = IcfaceConfig(channels=4, n_blocks=1, size=64, discriminator_channels=4, n_identities=2)


@pytest.fixture(scope="module")
def clips(tmp_path_factory, sample_portrait):
    """Two people, one of them with a clip in a folder of his own: the sample portrait, as it is and mirrored."""
    folder = tmp_path_factory.mktemp("clips")
    face = read_image(sample_portrait, max_side=256)
    wave = np.sin(np.linspace(0, 6, 8)) ** 2
    for place, picture in (("first/a.mp4", face), ("second.mp4", np.ascontiguousarray(face[:, ::-1]))):
        (folder / place).parent.mkdir(exist_ok=True)
        motion = FaceMotion.zeros(8, 10).with_columns({"jawOpen": 0.6 * wave, "eyeBlinkLeft": wave})
        write_video(folder / place, WarpRenderer(track_image(picture)).render(motion), 10)
    return folder


@pytest.fixture(scope="module")
def faces(clips, tmp_path_factory):
    """The clips tracked once: a run that finds its faces in its folder does not track again."""
    folder = tmp_path_factory.mktemp("faces") / "faces"
    for person, (path,) in open_clips(clips).items():
        assert face_track(person, path, folder, SMALL.size, 5.0) is not None
    return folder


def options(clips, folder, **changed):
    return TrainIcfaceOptions(clips, folder, **{"epochs": 2, "batch_size": 4, "checkpoint_every": 1} | changed)


def test_a_run_goes_on_where_it_stopped_and_is_read_again(clips, faces, tmp_path):
    torch.set_num_threads(1)
    for name in ("whole", "parts"):
        shutil.copytree(faces, tmp_path / name / "faces")
    whole = run(options(clips, tmp_path / "whole"), config=SMALL)
    assert (whole.n_faces, whole.n_people, whole.epochs) == (8, 2, 2)
    for epochs in (1, 2):
        parts = run(options(clips, tmp_path / "parts", epochs=epochs), config=SMALL)
    assert parts.output.read_bytes() == whole.output.read_bytes()
    network = load_icface(whole.output)
    assert network.config.size == 64
    assert (tmp_path / "whole" / "previews" / "latest.png").is_file()


def test_all_three_networks_learn_and_people_can_be_left_out(clips, faces, tmp_path):
    from safetensors.torch import load_file

    shutil.copytree(faces, tmp_path / "faces")
    made = run(options(clips, tmp_path, leave_out=("second",), epochs=2), config=SMALL)
    assert np.isfinite([made.error, made.error_if_still]).all()
    first, last = (load_file(path) for path in sorted((tmp_path / "checkpoints").glob("*.safetensors")))
    for part in ("icface.animator.model.1", "icface.neutraliser.model.1", "discriminator.conv2"):
        assert not torch.equal(first[f"network.{part}.weight"], last[f"network.{part}.weight"]), part


def test_bad_requests_are_refused(clips, tmp_path):
    assert list(open_clips(clips)) == ["first", "second"]
    (tmp_path / "empty").mkdir()
    for data, changed, says in (
        (tmp_path / "empty", {}, "holds no clips"),
        (tmp_path / "absent", {}, "no such folder"),
        (clips, {"leave_out": ("third",)}, "nobody is called third"),
        (clips, {"batch_size": 1}, "batch-size"),
    ):
        with pytest.raises(InputError, match=says):
            run(options(data, tmp_path / "run", **changed), config=SMALL)
