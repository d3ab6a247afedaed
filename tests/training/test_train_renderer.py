"""Training a person's renderer on a person made by code: it learns, resumes, reports, and draws."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from person_samples import filmed, make_person, small_portrait, some_motion
from safetensors.torch import load_file

from mien.errors import FormatError, InputError
from mien.media.person_folder import FAST_FILE
from mien.pipelines.person_renderer import load_window_renderer
from mien.pipelines.render import RenderOptions, render
from mien.rendering.fast import FastConfig, FastNetwork, FastRenderer, load_person_renderer
from mien.rendering.person import PersonVideoRenderer, draw_motion
from mien.training import loop, renderer_report
from mien.training.datasets.person_frames import LEARN, REPORT, STOP, open_frames
from mien.training.options import TrainRendererOptions
from mien.training.recipes import head2head, person
from mien.training.train import train_renderer
from mien.types import Portrait


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads that wait for each other on a busy machine take longer than one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def portrait(sample_portrait: Path) -> Portrait:
    return small_portrait(sample_portrait, 128)


@pytest.fixture(scope="module")
def folder(portrait: Portrait, tmp_path_factory) -> Path:
    return make_person(tmp_path_factory.mktemp("person"), portrait, n_frames=96, size=64)


@pytest.fixture(scope="module")
def run(folder: Path):
    """A short training; everything the tests look at comes of it."""
    patch = pytest.MonkeyPatch()
    patch.setattr(person, "_PER_EPOCH", 8)
    patch.setattr(person, "_TRIED", 3)
    patch.setattr(renderer_report, "_MOST_FRAMES", 6)
    yield train_renderer(TrainRendererOptions(folder, epochs=2))
    patch.undo()


def test_a_run_leaves_model_preview_and_report(run, folder: Path) -> None:
    output = folder / "renderer"
    assert run.output == output / FAST_FILE
    for name in ("preview.png", "report.png", "curves.png", FAST_FILE):
        assert (output / name).stat().st_size > 1000
    report = json.loads((output / "report.json").read_text())
    assert [entry["cpu_minutes"] > 0 for entry in report["curve"]] == [True, True]
    assert report["drawn"]["face_psnr"] == run.face_psnr
    # Even what the memory alone shows is nearer to the truth than the nearest frame filmed.
    assert report["drawn"]["face_psnr"] > report["nearest"]["face_psnr"] + 2
    assert report["drawn"]["mouth_psnr"] > report["nearest"]["mouth_psnr"] + 1.5


def test_a_resumed_run_ends_in_the_same_weights(run, folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(loop, "draw_curves", lambda *_: None)
    monkeypatch.setattr(person, "finish", lambda path, frames, renderer, entries, progress: len(entries))
    assert train_renderer(TrainRendererOptions(folder, tmp_path / "parts", epochs=1)) == 1
    assert train_renderer(TrainRendererOptions(folder, tmp_path / "parts", epochs=2)) == 2
    whole, parts = (load_file(path) for path in (run.output, tmp_path / "parts" / FAST_FILE))
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())


def test_the_loss_falls(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    task = person.PersonTask(
        open_frames(folder), FastConfig(64), person.FastLossWeights(), tmp_path, torch.device("cpu"), 0
    )
    totals = []
    for _ in range(16):
        total = task.loss(np.arange(4))["total"]
        task.optimiser.param_groups[0]["lr"] = 2e-3
        task.optimiser.zero_grad()
        total.backward()
        task.optimiser.step()
        totals.append(total.item())
    assert np.mean(totals[-4:]) < 0.95 * np.mean(totals[:3])


def test_every_parameter_gets_a_gradient_and_there_are_few() -> None:
    network = FastNetwork()
    torch.nn.init.normal_(network.out.weight, std=0.1)
    network(torch.rand(2, 13, 32, 32)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    assert sum(p.numel() for p in network.parameters()) <= 2_000_000


def test_folding_changes_nothing() -> None:
    network = FastNetwork()
    torch.nn.init.normal_(network.out.weight, std=0.1)
    planes = torch.rand(2, 13, 32, 32)
    network(planes)  # batch norm sees something
    with torch.no_grad():
        assert torch.allclose(network.eval()(planes), network.folded()(planes), atol=1e-4)
    assert not [m for m in network.folded().modules() if isinstance(m, torch.nn.BatchNorm2d)]


def test_a_person_comes_back_from_the_file(run, tmp_path: Path) -> None:
    loaded = load_person_renderer(run.output)
    assert loaded.memory.pictures.shape[1:] == (64, 64, 3)
    assert len(loaded.memory.pictures) == len(loaded.memory.points) == len(loaded.memory.keys)
    with pytest.raises(InputError, match="mien train renderer"):
        load_person_renderer(tmp_path / "none.safetensors")
    damaged = tmp_path / FAST_FILE
    damaged.write_bytes(run.output.read_bytes()[:5000])
    with pytest.raises(FormatError, match=r"or damaged .*mien train renderer"):
        load_person_renderer(damaged)


def test_a_motion_is_drawn_in_the_middle(run, portrait: Portrait) -> None:
    renderer = FastRenderer(load_person_renderer(run.output), "float32")
    motion = some_motion(6, seed=3)
    aside = replace(motion, translation=motion.translation + np.array([1, 0, 0], np.float32))
    frames, moved = (list(draw_motion(renderer, m)) for m in (motion, aside))
    assert len(frames) == 6 and frames[0].shape == (64, 64, 3)
    assert np.abs(frames[2].astype(int) - moved[2]).max() <= 1  # where the head is does not matter


def test_in_a_film_own_rows_are_the_film_and_others_move_the_face(run, portrait: Portrait) -> None:
    renderer = PersonVideoRenderer(FastRenderer(load_person_renderer(run.output), "float32"))
    rest = portrait.rest
    motion = rest.concat(rest.with_columns({"jawOpen": rest.column("jawOpen") + 0.5}))
    same, opened = renderer.render([portrait, portrait], motion)
    assert np.array_equal(same, portrait.image)
    changed = np.abs(opened.astype(int) - portrait.image).max(-1) > 0
    lips = portrait.landmarks[13, :2].astype(int)
    assert changed[lips[1] - 3 : lips[1] + 8, lips[0] - 5 : lips[0] + 5].mean() > 0.5
    assert not changed[:3].any() and not changed[:, :3].any()  # the picture's border is not the face


def test_the_verb_draws_a_motion_file(run, folder: Path, tmp_path: Path) -> None:
    motion = tmp_path / "motion.npz"
    some_motion(4).save(motion)
    result = render(RenderOptions(motion, folder, tmp_path / "frames"))
    assert (result.n_frames, result.fps) == (4, 25.0)
    assert len(list((tmp_path / "frames").glob("*.png"))) == 4
    with pytest.raises(InputError, match="mien train renderer -i"):
        render(RenderOptions(motion, tmp_path, tmp_path / "other"))
    assert not (tmp_path / "other").exists()


def test_drawn_frames_are_nearer_to_the_film_than_the_still_is(run, portrait: Portrait) -> None:
    """The person in a motion of which no frame was trained on."""
    renderer = PersonVideoRenderer(FastRenderer(load_person_renderer(run.output)))
    motion = some_motion(12, seed=9)
    truth, _ = filmed(portrait, motion)
    from person_samples import absolute

    drawn = list(renderer.render([portrait] * 12, absolute(motion, portrait)))
    errors = [np.mean([np.mean((a.astype(float) - b) ** 2) for a, b in zip(truth, some, strict=True)])
              for some in (drawn, [portrait.image] * 12)]  # fmt: skip
    assert errors[0] < 0.8 * errors[1]


def test_too_little_film_is_refused(folder: Path, portrait: Portrait, tmp_path: Path) -> None:
    short = make_person(tmp_path / "short", portrait, n_frames=20, size=64)
    with pytest.raises(InputError, match="at least 40"):
        train_renderer(TrainRendererOptions(short))
    with pytest.raises(InputError, match="holds a run with another"):
        train_renderer(TrainRendererOptions(folder, method="head2head", width=2, epochs=1))


def test_parts_are_split_by_time(folder: Path) -> None:
    frames = open_frames(folder)
    train, stop, report = (frames.rows(part) for part in (LEARN, STOP, REPORT))
    assert train.max() < stop.min() and stop.max() < report.min()
    assert len(report) == 24  # a quarter
    assert not frames.goes_on[[train.max(), stop.max(), report.max()]].any()


@pytest.mark.parametrize("method", ["head2head", "ned"])
def test_neural_renderers_train_resume_and_draw_every_frame(
    method: str, folder: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(loop, "draw_curves", lambda *_: None)
    monkeypatch.setattr(head2head, "_CLIP", 4)
    monkeypatch.setattr(head2head, "_TRIED", 2)
    monkeypatch.setattr(head2head, "finish", lambda path, frames, renderer, entries, progress: (path, len(entries)))
    options = TrainRendererOptions(folder, tmp_path / "whole", method=method, width=2, epochs=2)
    path, n_epochs = train_renderer(options)
    assert n_epochs == 2
    train_renderer(replace(options, output=tmp_path / "parts", epochs=1))
    train_renderer(replace(options, output=tmp_path / "parts"))
    whole, parts = (load_file(tmp_path / name / path.name) for name in ("whole", "parts"))
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    frames = list(draw_motion(load_window_renderer(tmp_path / "whole", "float32"), some_motion(5)))
    assert len(frames) == 5
    assert (frames[4][0, 0].max() == 0) == (method == "ned")  # which draws the face alone
    assert frames[4][32, 32].max() > 0


def test_head2head_clips_grow(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    task = head2head.Head2HeadTask(
        open_frames(folder), head2head.HEAD2HEAD_TRAINING, 2, None, tmp_path, torch.device("cpu"), 0, 60
    )
    # The 67 frames to train on are parts of 50 and 17; a step is 4 frames.
    assert len(task) == 3 + 3
    task.network.n_epochs += 5
    assert len(task) == 6 + 4
    task.network.n_epochs += 50
    assert len(task) == 12 + 4
