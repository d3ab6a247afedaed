"""The training loop on a task of a few numbers: determinism, resuming, schedule, files of a run."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from mien.errors import FormatError, InputError
from mien.progress import Silent
from mien.training.loop import Schedule, draw_curves, fit


class Line:
    """Fit y = 3x - 1; remembers what it was shown."""

    def __init__(self):
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        self.optimiser = torch.optim.Adam(self.network.parameters())
        self.x = torch.linspace(-1, 1, 22)[:, None]
        self.shown, self.rates = [], []

    def __len__(self):
        return len(self.x)

    def loss(self, indices):
        self.shown.append(indices.tolist())
        self.rates.append(self.optimiser.param_groups[0]["lr"])
        x = self.x[indices]
        return {"total": (self.network(x) - (3 * x - 1)).square().mean()}

    def validate(self):
        assert not self.network.training
        return {"total": float((self.network(self.x) - (3 * self.x - 1)).square().mean())}


def schedule(**changes):
    return Schedule(**{"epochs": 6, "batch_size": 5, "learning_rate": 0.05, "checkpoint_every": 2, **changes})


def weights(task):
    return {name: value.clone() for name, value in task.network.state_dict().items()}


def assert_equal(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_it_learns_and_leaves_a_run_behind(tmp_path):
    task = Line()
    entries = fit(task, schedule(epochs=40, keep=3, checkpoint_every=10), tmp_path, {"what": "a line"})
    assert entries[-1]["validation"]["total"] < 0.3 * entries[0]["validation"]["total"]
    assert [json.loads(line)["epoch"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == list(
        range(1, 41)
    )
    assert json.loads((tmp_path / "run.json").read_text())["what"] == "a line"
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == [f"epoch_00{n}.{e}" for n in (20, 30, 40) for e in ("json", "safetensors")]
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert not list(tmp_path.rglob("*.part-*"))


def test_every_example_once_per_epoch(tmp_path):
    task = Line()
    fit(task, schedule(epochs=3), tmp_path, {})
    for epoch in range(3):
        batches = task.shown[5 * epoch : 5 * epoch + 5]
        assert [len(batch) for batch in batches] == [5, 5, 5, 5, 2]
        assert sorted(index for batch in batches for index in batch) == list(range(22))


def test_rate_falls_by_the_epoch(tmp_path):
    task = Line()
    fit(task, schedule(epochs=3, decay=0.5), tmp_path, {})
    assert task.rates == [0.05] * 5 + [0.025] * 5 + [0.0125] * 5


def test_same_seed_same_weights_other_seed_others(tmp_path):
    runs = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        runs[name] = Line()
        fit(runs[name], schedule(seed=seed), tmp_path / name, {})
    assert_equal(weights(runs["a"]), weights(runs["b"]))
    assert not torch.equal(runs["a"].network[0].weight, runs["c"].network[0].weight)


def test_resumed_run_ends_in_the_same_weights(tmp_path):
    whole, interrupted, resumed = Line(), Line(), Line()
    entries = fit(whole, schedule(), tmp_path / "whole", {})
    interrupted.validate = stop_after(interrupted.validate, 3)
    with pytest.raises(KeyboardInterrupt):
        fit(interrupted, schedule(), tmp_path / "parts", {})
    again = fit(resumed, schedule(), tmp_path / "parts", {})  # from the checkpoint after epoch 2
    assert len(resumed.shown) == 4 * 5
    assert_equal(weights(whole), weights(resumed))
    assert [timeless(entry) for entry in again] == [timeless(entry) for entry in entries]
    assert again[-1]["minutes"] >= again[1]["minutes"] > 0


def timeless(entry):
    return {name: value for name, value in entry.items() if not name.endswith("minutes")}


def test_a_run_stops_when_it_is_enough_and_stays_so(tmp_path):
    task = Line()
    entries = fit(task, schedule(), tmp_path, {}, enough=lambda log: len(log) == 3)
    assert len(entries) == 3
    assert (tmp_path / "checkpoints" / "epoch_0003.safetensors").exists()  # though only every second one is due
    again = Line()
    assert len(fit(again, schedule(), tmp_path, {}, enough=lambda log: len(log) == 3)) == 3
    assert not again.shown
    assert_equal(weights(task), weights(again))


def test_how_long_it_takes_is_told_only_where_it_is_known(tmp_path):
    class Told(Silent):
        def stage(self, name, total=None):
            totals.append(total)
            return super().stage(name, total)

    totals = []
    fit(Line(), schedule(), tmp_path / "all", {}, Told())
    fit(Line(), schedule(), tmp_path / "some", {}, Told(), enough=lambda log: len(log) == 3)
    assert totals == [6 * 5, None]


def test_of_many_processes_only_the_first_writes(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert len(fit(Line(), schedule(), tmp_path, {})) == 6
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def stop_after(validate, calls):
    count = iter(range(calls))

    def stopping():
        if next(count) == calls - 1:
            raise KeyboardInterrupt
        return validate()

    return stopping


def test_a_finished_run_can_be_made_longer(tmp_path):
    fit(Line(), schedule(epochs=2), tmp_path / "a", {})
    longer, whole = Line(), Line()
    fit(longer, schedule(epochs=4), tmp_path / "a", {})
    fit(whole, schedule(epochs=4), tmp_path / "b", {})
    assert_equal(weights(longer), weights(whole))


def test_other_settings_are_not_mixed_in(tmp_path):
    fit(Line(), schedule(epochs=1), tmp_path, {"fps": 25})
    with pytest.raises(InputError, match="another batch_size, fps"):
        fit(Line(), schedule(epochs=1, batch_size=6), tmp_path, {"fps": 30})


def test_damaged_checkpoint_is_named(tmp_path):
    fit(Line(), schedule(epochs=2), tmp_path, {})
    path = tmp_path / "checkpoints" / "epoch_0002.safetensors"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FormatError, match=r"epoch_0002\.json: the checkpoint is damaged"):
        fit(Line(), schedule(epochs=4), tmp_path, {})


def test_a_loss_that_explodes_stops_the_run(tmp_path):
    task = Line()
    task.x[3] = np.nan
    with pytest.raises(InputError, match="lower the learning rate"):
        fit(task, schedule(), tmp_path, {})


@pytest.mark.parametrize("changes", [{"epochs": 0}, {"batch_size": -1}, {"learning_rate": float("nan")}, {"decay": 0}])
def test_numbers_that_make_no_sense(changes):
    with pytest.raises(InputError, match=next(iter(changes))):
        schedule(**changes)


def test_curves_of_several_losses(tmp_path):
    entries = [
        {"epoch": i + 1, "train": {"total": 2.0 / (i + 1), "velocity": 1.0}, "validation": {"total": 3.0 / (i + 1)}}
        for i in range(5)
    ]
    from PIL import Image

    draw_curves(tmp_path / "curves.png", entries)
    with Image.open(tmp_path / "curves.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(pixels, axis=0)) > 10
