"""``mien evaluate`` on a clip made here: equal is equal, what is broken is flagged, the report stands by itself."""

import dataclasses
import json
import re

import cv2
import numpy as np
import pytest

from mien.errors import FormatError, InputError, OutputError
from mien.evaluation.evaluate import EvaluateOptions, evaluate
from mien.evaluation.measures import METRICS
from mien.evaluation.networks import FaceEmbedding, Lpips, OnnxFeatures, aligned_face
from mien.evaluation.report import curves, number, table
from mien.media.image import read_image
from mien.media.video import VideoReader, write_video
from mien.perception.tracking import track_image
from mien.rendering.warp import WarpRenderer
from mien.types import FaceMotion

FPS, N = 25, 16


@pytest.fixture(scope="module")
def clips(tmp_path_factory, sample_portrait):
    """A face that opens its mouth and blinks; the same blurred; the same with a mouth that stays shut."""
    folder = tmp_path_factory.mktemp("clips")
    portrait = track_image(np.ascontiguousarray(read_image(sample_portrait)[20:420, 70:470][::2, ::2]))
    way = 0.5 * (1 - np.cos(np.linspace(0, 2 * np.pi, N)))
    motion = FaceMotion.zeros(N, FPS).with_columns({"jawOpen": 0.6 * way, "browInnerUp": 0.3 * way})
    true = list(WarpRenderer(portrait).render(motion))
    mute = list(WarpRenderer(portrait).render(motion.with_columns({"jawOpen": 0.0})))
    for name, frames in (("true", true), ("mute", mute), ("blurred", [cv2.GaussianBlur(f, (0, 0), 2) for f in true])):
        (folder / name).mkdir()
        write_video(folder / name / "a.mp4", frames, FPS)
    return folder


@pytest.fixture(scope="module")
def result(clips):
    return evaluate(
        EvaluateOptions((clips / "mute", clips / "blurred"), truth=clips / "true", output=clips / "report.html")
    )


def test_a_blur_hurts_the_picture_and_a_shut_mouth_the_lips(result):
    mute, blurred = result.systems["mute"], result.systems["blurred"]
    assert blurred["psnr"] < 35 and blurred["ms_ssim"] < mute["ms_ssim"]
    assert mute["aperture_correlation"] < 0.5 < blurred["aperture_correlation"]
    assert mute["m_lmd_relative"] > 2 * blurred["m_lmd_relative"]
    assert mute["mouth_apd"] > 3 * mute["apd"]
    assert mute["psnr_face"] < mute["psnr"]
    assert result.systems["truth"]["head_movement"] >= 0 and "psnr" not in result.systems["truth"]


def test_a_clip_against_itself_has_no_error(clips):
    output = clips / "report.json"
    found = evaluate(EvaluateOptions((clips / "true",), truth=clips / "true", direction="happy:1", output=output))
    own = found.systems["true"]
    assert own["psnr"] == float("inf") and own["ssim"] == pytest.approx(1)
    for name in ("apd", "m_lmd", "f_lmd", "aed", "head", "au_error", "va_rmse", "flicker_added"):
        assert own.get(name, 0) == pytest.approx(0, abs=1e-6), name
    assert own["flicker"] == pytest.approx(found.systems["truth"]["flicker"])  # like is beside like
    assert own["va_asked"] > 0.3  # happiness was asked for, and there is none

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    numbers = json.loads(output.read_text(), parse_constant=refuse)
    assert numbers["systems"]["true"]["psnr"] == "Infinity"
    assert numbers["systems"]["true"]["blink_duration"] is None
    assert {metric["unit"] for metric in numbers["metrics"].values()} >= {"dB", "mm"}


def test_frames_without_a_face_are_counted_and_not_guessed_at(clips, tmp_path, caplog):
    frames = list(VideoReader(clips / "true" / "a.mp4"))
    gone = [np.full_like(f, 90) if 4 <= i < 12 else f for i, f in enumerate(frames)]
    write_video(tmp_path / "gone.mp4", gone, FPS)
    found = evaluate(
        EvaluateOptions((tmp_path / "gone.mp4",), truth=clips / "true" / "a.mp4", reference=tmp_path / "gone.mp4")
    ).systems
    assert found["gone"]["faces"] == pytest.approx(0.5, abs=0.07) and found["truth"]["faces"] == 1
    assert found["gone"]["m_lmd_relative"] < 1.5 and found["gone"]["psnr"] < 25
    assert "identity is not compared without --identity" in caplog.text


def test_the_report_stands_by_itself(result, clips):
    text = (clips / "report.html").read_text()
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert text.count("data:image/jpeg;base64,") >= 3 and text.count("<svg") >= 3
    assert '"sha256"' in text and '"versions"' in text and "mediapipe" in text


def test_meshes_are_judged_in_both_forms(tmp_path):
    way = np.linspace(0, 1, 10)
    true = FaceMotion.zeros(10, FPS).with_columns({"jawOpen": 0.5 * way, "browInnerUp": way})
    still = true.with_columns({"browInnerUp": 0.0, "jawOpen": 0.0})
    for name, motion in (("true", true), ("frozen", still)):
        motion.save(tmp_path / f"{name}.npz")
    found = evaluate(EvaluateOptions((tmp_path / "frozen.npz", tmp_path / "true.npz"), truth=tmp_path / "true.npz"))
    frozen, same = found.systems["frozen"], found.systems["true"]
    assert frozen["lve"] > 3 and frozen["fdd"] > 0 and 0 < frozen["mve"] < frozen["lve"]
    assert frozen["lve_squared"] == pytest.approx((frozen["lve"] / 1000) ** 2, rel=1)
    assert same["lve"] == same["mve"] == same["fdd"] == 0
    turned = dataclasses.replace(true, head_pose=np.full((10, 3), 0.1, np.float32))
    turned.save(tmp_path / "turned.npz")
    head = evaluate(EvaluateOptions((tmp_path / "turned.npz",), truth=tmp_path / "true.npz"))
    assert head.systems["turned"]["lve"] == 0  # at zero pose


def test_what_cannot_be_paired_is_refused(clips, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "b.mp4").write_bytes(b"x")
    for options, message in (
        (EvaluateOptions(()), "nothing to evaluate"),
        (EvaluateOptions((clips / "true", tmp_path / "other")), "same names"),
        (EvaluateOptions((clips / "true",), truth=tmp_path / "other"), "nothing named a"),
        (EvaluateOptions((tmp_path / "none.mp4",)), "no such file"),
        (EvaluateOptions((clips / "true",), fid=tmp_path / "none.onnx"), "no such file"),
    ):
        with pytest.raises(InputError, match=message):
            evaluate(options)
    with pytest.raises(OutputError, match=r"\.html or \.json"):
        evaluate(EvaluateOptions((clips / "true",), output=tmp_path / "report.txt"))


def lpips_weights(folder):
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    shapes = ((0, 64, 3, 11), (3, 192, 64, 5), (6, 384, 192, 3), (8, 256, 384, 3), (10, 256, 256, 3))
    backbone = {f"features.{i}.weight": 0.05 * torch.randn(n, m, k, k) for i, n, m, k in shapes}
    backbone |= {f"features.{i}.bias": torch.zeros(n) for i, n, _, _ in shapes}
    linear = {f"lin{i}.model.1.weight": torch.rand(1, n, 1, 1) for i, (_, n, _, _) in enumerate(shapes)}
    save_file(backbone, folder / "alexnet.safetensors")
    save_file(linear, folder / "linear.safetensors")
    return folder / "alexnet.safetensors", folder / "linear.safetensors"


def test_lpips_is_zero_for_equal_pictures_and_grows_with_the_fault(tmp_path):
    pytest.importorskip("torch")
    distance = Lpips(*lpips_weights(tmp_path))
    picture = np.kron(np.random.default_rng(0).integers(0, 256, (16, 16, 3)), np.ones((6, 6, 1))).astype(np.uint8)
    soft, softer = cv2.GaussianBlur(picture, (0, 0), 0.7), cv2.GaussianBlur(picture, (0, 0), 3)
    assert distance(picture, picture) == 0
    assert 0 < distance(picture, soft) < distance(picture, softer)
    with pytest.raises(FormatError, match="do not fit LPIPS"):
        Lpips(*reversed(lpips_weights(tmp_path)))


def field(tag: int, payload: bytes | int) -> bytes:
    """One field of a protocol buffer."""
    if isinstance(payload, int):
        return bytes([tag << 3, payload])
    return bytes([tag << 3 | 2, len(payload)]) + payload


def tensor(name: bytes, *sides: int) -> bytes:
    dims = b"".join(
        field(1, field(1, side) if side < 128 else bytes([8, side % 128 | 128, side // 128])) for side in sides
    )
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))


def test_features_of_any_network_in_onnx(tmp_path):
    """The smallest network there is, written by hand: the mean over the picture."""
    node = field(1, b"x") + field(2, b"y") + field(4, b"GlobalAveragePool")
    graph = field(1, node) + field(2, b"g") + field(11, tensor(b"x", 1, 3, 299, 299))
    graph += field(12, tensor(b"y", 1, 3, 1, 1))
    (tmp_path / "mean.onnx").write_bytes(field(1, 7) + field(7, graph) + field(8, field(2, 13)))
    features = OnnxFeatures(tmp_path / "mean.onnx")
    frame = np.zeros((40, 40, 3), np.uint8)
    frame[..., 0] = 255
    assert features(frame).tolist() == pytest.approx([1, -1, -1], abs=1e-3)
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(FormatError, match="no network"):
        OnnxFeatures(tmp_path / "junk.onnx")
    with pytest.raises(FormatError, match="SFace"):
        FaceEmbedding(tmp_path / "junk.onnx")


def test_a_face_is_cut_out_upright_whatever_its_tilt(clips):
    frame = next(iter(VideoReader(clips / "true" / "a.mp4")))
    landmarks = track_image(frame).landmarks
    centre = (frame.shape[1] / 2, frame.shape[0] / 2)
    turn = cv2.getRotationMatrix2D(centre, 20, 1.0)
    tilted = np.asarray(cv2.warpAffine(frame, turn, frame.shape[1::-1]), np.uint8)
    points = landmarks[:, :2] @ turn[:, :2].T + turn[:, 2]
    straight, again = aligned_face(frame, landmarks), aligned_face(tilted, points.astype(np.float32))
    inside = slice(25, 90)
    difference = straight[inside, inside].astype(float) - again[inside, inside]
    assert straight.shape == (112, 112, 3) and np.abs(difference).mean() < 6


def test_tables_and_curves_take_what_is_not_finite():
    assert number(float("nan")) == "–" and number(float("inf")) == "equal" and number(0.123456) == "0.1235"
    assert "&lt;b&gt;" in table(["<b>"], [[float("nan")]])
    drawn = curves("gap", [0, 1, 2, 3], {"a": [1.0, float("nan"), 2.0, 3.0]})
    assert drawn.count("M") >= 2 and "nan" not in drawn


def test_every_metric_has_its_line():
    keys = [metric.key for metric in METRICS]
    assert len(set(keys)) == len(keys) and all(metric.better in ("high", "low", "") for metric in METRICS)
