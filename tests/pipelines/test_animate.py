"""``mien animate``: every kind of output, on every rig."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from fake_speech import make_speech
from flame_files import talking_flame
from glb_reader import Glb
from tensorflow_samples import deepspeech_graph, write_graph

from mien.cli import main
from mien.face.flame import write_flame
from mien.face.rig import load_rig, rig_of_flame
from mien.media.livelink import read_livelink
from mien.media.mesh_file import read_vertices, write_meshes
from mien.media.provenance import read_provenance
from mien.media.video import VideoReader
from mien.types import FaceMotion

N, FPS = 14, 20


@pytest.fixture(autouse=True)
def speech(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``voice.wav`` in the current folder, understood without listening."""
    monkeypatch.chdir(tmp_path)
    soundfile.write("voice.wav", np.zeros(16000 * N // FPS), 16000)
    monkeypatch.setattr("mien.perception.speech.analyse", lambda audio, fps, text, progress: make_speech(N, fps))


def animate(*arguments: str) -> int:
    return main(["animate", "-s", "voice.wav", "--fps", str(FPS), *arguments])


def test_video_with_sound(capsys: pytest.CaptureFixture[str]) -> None:
    assert animate("-o", "face.mp4", "--size", "96", "-d", "happy:0.8") == 0
    assert "face.mp4: frames 14" in capsys.readouterr().out
    frames = [frame.astype(int) for frame in VideoReader("face.mp4")]
    assert len(frames) == N and frames[0].shape == (96, 96, 3)
    assert max(np.abs(frame - frames[0]).mean() for frame in frames) > 0.5
    record = read_provenance("face.mp4")
    assert record is not None and record["synthetic"] and record["verb"] == "animate"
    assert soundfile.info("voice.wav").duration == pytest.approx(N / FPS)


def test_every_kind_shows_the_same_motion() -> None:
    for name in ("face.npz", "face.csv", "face.glb", "meshes"):
        assert animate("-o", name, "--seed", "3") == 0
    motion, rig = FaceMotion.load("face.npz"), load_rig()
    assert motion.expression.min() >= 0 and motion.expression.max() <= 1 and motion.expression.any()
    np.testing.assert_allclose(read_livelink("face.csv").expression, motion.expression, atol=1e-4)
    posed = rig.pose(rig.vertices(motion), motion)
    np.testing.assert_allclose(read_vertices(f"meshes/frame_{N - 1:06d}.obj"), posed[-1], atol=6e-7)
    skin = rig.triangles[rig.triangle_parts["skin"]]
    np.testing.assert_allclose(Glb(Path("face.glb")).triangles(7)[: len(skin)], posed[7][skin], atol=2e-6)


def test_a_template_gives_the_face_its_shape() -> None:
    rig = load_rig()
    wide = rig.template * np.array([1.1, 1, 1], np.float32)
    write_meshes("wide", [wide], rig.triangles, "ply")
    assert animate("-o", "plain", "--mesh", "ply") == 0
    assert animate("-o", "shaped", "--mesh", "ply", "--template", "wide/frame_000000.ply") == 0
    plain, shaped = (read_vertices(f"{name}/frame_000000.ply") for name in ("plain", "shaped"))
    assert animate("-o", "motion.npz") == 0
    again = ["-i", "motion.npz", "-o", "exported", "--mesh", "ply", "--template", "wide/frame_000000.ply"]
    assert main(["export", *again]) == 0
    np.testing.assert_array_equal(read_vertices("exported/frame_000000.ply"), shaped)
    assert np.ptp(shaped[:468, 0]) / np.ptp(plain[:468, 0]) == pytest.approx(1.1, abs=0.02)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda v: v[np.random.default_rng(0).permutation(len(v))], "in another order than the rig's"),
        (lambda v: np.roll(v, 40, 0), "in another order than the rig's"),
        (lambda v: 1000 * v, "1e+03 times as large as the rig; give it in metres"),
        (lambda v: v * np.array([-1, 1, -1], np.float32), "turned by 180 degrees"),
        (lambda v: v + np.array([0, 1.5, 0], np.float32), "150 cm from where the rig's is"),
    ],
)
def test_templates_that_do_not_lie_on_the_rig(change, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    rig = load_rig()
    write_meshes("odd", [np.ascontiguousarray(change(rig.template))], rig.triangles, "ply")
    assert animate("-o", "face.npz", "--template", "odd/frame_000000.ply") == 2
    error = capsys.readouterr().err
    assert word in error and error.count("\n") == 1 and not Path("face.npz").exists()


def test_styles_differ() -> None:
    for style in ("still", "theatrical"):
        assert animate("-o", f"{style}.npz", "--style", style) == 0
    still, theatrical = (FaceMotion.load(f"{style}.npz") for style in ("still", "theatrical"))
    assert theatrical.column("jawOpen").max() > still.column("jawOpen").max()


def test_flame_from_the_users_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    model = talking_flame()
    write_flame("flame.npz", model)
    for name in ("face.flame.npz", "face.npz", "face.glb", "face.mp4"):
        assert animate("-v", "-o", name, "--rig", "flame.npz", "--size", "96") == 0
    motion = FaceMotion.load("face.npz")
    assert motion.rig == "flame" and motion.jaw_pose[:, 0].max() > 0.02
    with np.load("face.flame.npz") as file:
        np.testing.assert_array_equal(file["pose"][:, 6:9], motion.jaw_pose)
    assert main(["export", "-i", "face.npz", "-o", "meshes", "--rig", "flame.npz"]) == 0
    rig = rig_of_flame(model)
    posed = rig.pose(rig.vertices(motion), motion)
    np.testing.assert_allclose(read_vertices("meshes/frame_000009.obj"), posed[9], atol=6e-7)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["-o", "face.fbx"], "not written as .fbx; end -o in .mp4"),
        (["-o", "face.mp4", "--style", "thetrical"], "did you mean 'theatrical'? known: neutral"),
        (["-o", "face.mp4", "--rig", "elf"], "elf: no such rig"),
        (["-o", "face.mp4", "--fps", "500"], "--fps is 500"),
        (["-o", "face.mp4", "--size", "1"], "--size is 1"),
        (["-o", "face.mp4", "--template", "voice.wav"], "not an .obj or .ply mesh"),
        (["-o", "face.mp4", "--template", "few.obj"], "1 vertices where the rig has 1958"),
        (["-o", "voice.wav"], "not written as .wav"),
        (["-o", "face.flame.npz"], "give --rig a FLAME model"),
    ],
)
def test_bad_input(arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("few.obj").write_text("v 0 0 0\n")
    assert animate(*arguments) == 2
    error = capsys.readouterr().err
    assert word in error and error.count("\n") == 1
    assert not list(Path().glob("face.*"))


def make_voca(
    path: Path, rig: str = "builtin", columns: int = 42, n_vertices: int = 1958, kind: str = "phones42"
) -> None:
    torch = pytest.importorskip("torch")
    from mien.motion.voca import Voca, VocaConfig, VocaNetwork, save_voca

    torch.manual_seed(0)
    config = VocaConfig(n_vertices, ("ann", "bob"), kind, columns, float(FPS), rig=rig, default_style="ann")
    network = VocaNetwork(config)
    with torch.no_grad():
        for parameter in network.encoder.parameters():  # the paper's start hardly listens
            parameter.mul_(8)
        network.decoder.weight.mul_(0.01)
    save_voca(path, Voca(config, network.eval()))


def test_a_voca_model_of_another_rig_moves_its_vertices_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    write_flame("flame.npz", talking_flame())
    make_voca(Path("model.safetensors"), rig="flame", n_vertices=rig_of_flame(talking_flame()).n_vertices)
    assert animate("-o", "face.npz", "--rig", "flame.npz", "--voca", "model.safetensors") == 0
    motion = FaceMotion.load("face.npz")
    assert motion.offsets is not None and motion.offsets.std(0).max() > 1e-5 and np.abs(motion.jaw_pose).max() < 1e-3


def test_a_voca_model_moves_the_mouth() -> None:
    make_voca(Path("model.safetensors"))
    assert animate("-o", "plain.npz") == 0
    for style in ("ann", "2"):
        assert animate("-o", f"{style}.npz", "--voca", "model.safetensors", "--speaker", style) == 0
    plain, ann, bob = (FaceMotion.load(f"{name}.npz") for name in ("plain", "ann", "2"))
    assert plain.column("jawOpen").any()
    assert not np.array_equal(ann.expression, plain.expression) and not np.array_equal(ann.expression, bob.expression)
    brows = [i for i, name in enumerate(ann.expression_names) if name.startswith(("brow", "eye"))]
    np.testing.assert_array_equal(ann.expression[:, brows], plain.expression[:, brows])
    assert animate("-o", "mixed.npz", "--voca", "model.safetensors", "--speaker", "ann:0.5,2:0.5") == 0
    mixed = FaceMotion.load("mixed.npz")
    assert not np.array_equal(mixed.expression, ann.expression)
    assert animate("-o", "face.glb", "--voca", "model.safetensors") == 0


def test_a_voca_model_listens_with_a_recogniser() -> None:
    make_voca(Path("logits.safetensors"), columns=29, kind="deepspeech29")
    write_graph(Path("output_graph.pb"), deepspeech_graph())
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        soundfile.write("voice.wav", 0.1 * rng.normal(size=16000 * N // FPS), 16000)
        assert animate("-o", f"{name}.npz", "--voca", "logits.safetensors", "--recogniser", "output_graph.pb") == 0
    one, two = (FaceMotion.load(f"{name}.npz") for name in ("one", "two"))
    assert np.abs(one.expression - two.expression).max() > 1e-4  # the phones are the same, the sounds are not


def test_every_style_side_by_side() -> None:
    make_voca(Path("model.safetensors"))
    again = ["--voca", "model.safetensors", "--size", "192"]
    assert animate("-o", "each.mp4", *again, "--speaker", "each") == 0
    frames = list(VideoReader("each.mp4"))
    assert len(frames) == N and frames[0].shape == (96, 192, 3)
    halves = [np.stack([frame[:, side : side + 96].astype(int) for frame in frames]) for side in (0, 96)]
    assert np.abs(halves[0] - halves[1]).mean() > 0.1
    assert animate("-o", "bob.mp4", "--voca", "model.safetensors", "--size", "96", "--speaker", "bob") == 0
    bob = np.stack(list(VideoReader("bob.mp4"))).astype(int)
    assert np.abs(halves[1] - bob).mean() < np.abs(halves[0] - bob).mean()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--speaker", "ann"), "--voca"),
        (("--recogniser", "graph.pb"), "--voca"),
        (("--voca", "model.safetensors", "--recogniser", "graph.pb"), "need no recogniser"),
        (("--voca", "model.safetensors", "--speaker", "each"), "end -o in .mp4"),
        (("--voca", "ears.safetensors"), "give --recogniser: a folder with a wav2vec 2.0"),
        (("--voca", "none.safetensors"), "no such file"),
        (("--voca", "model.safetensors", "--speaker", "eve"), "there are ann, bob"),
        (("--voca", "model.safetensors", "--speaker", "ann:much"), "write NAME:SHARE,NAME:SHARE"),
        (("--voca", "other.safetensors"), "--rig ict"),
        (("--voca", "logits.safetensors"), "trained on phones42 features (29 columns)"),
    ],
)
def test_voca_refused(arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    make_voca(Path("model.safetensors"))
    make_voca(Path("other.safetensors"), rig="ict")
    make_voca(Path("logits.safetensors"), columns=29)
    make_voca(Path("ears.safetensors"), kind="wav2vec29", columns=29)
    assert animate("-o", "face.npz", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
