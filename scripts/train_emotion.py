"""Train mien's own reader of emotion, ``mien/perception/data/emotion_reader.npz``.

    ./run python scripts/train_emotion.py --data ../shared/data

Nobody has labelled faces that may be used freely, so labels are made, not collected: people of the built-in rig wear
FACS prototypes (below) in random strength and completeness, talk, and have brows and mouths of their own; mien's
expression reader looks at their landmarks; the label is what they wear. Speech movements and real neutral faces come
from permitted clips (GRID speaker s1: CC BY 4.0; LatentSync's two demo clips: Apache-2.0). Valence and arousal are the
label's place on the disc (``mien.direction.LABEL_ANGLES``) times its strength. Three networks learn from faces of their
own; what ships is their mean, for single ones differ by two of nineteen pictures.

No label but sadness lies in the calm half of the disc, so whoever learns from labels takes every talking mouth for
excitement. Arousal is therefore the mean of those networks and of three that also see faces from all over the disc,
mixed from the prototypes of the two words nearest by, "relaxed" and "tired" among them. Labels and valence do not come
from these, for they are read better without.

Sources of the prototypes: Ekman, Friesen and Hager, FACS Investigator's Guide, 2002, table 10-2; Ekman and Friesen 1986
(contempt). Strengths and chances are ours. It takes about four minutes on one core, most of it for tracking, which is
kept in ``--cache``; ``scripts/check_emotion.py`` judges the result.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mien.direction import LABEL_ANGLES, LABELS, disc_weights
from mien.face.actions import expression_from_units
from mien.face.rig import load_rig
from mien.perception.emotion import EMOTION_READER_FORMAT, emotion_features
from mien.perception.reader import load_reader
from mien.perception.tracking import track_video
from mien.rotations import matrix_from_axis_angle
from mien.types import ARKIT_NAMES, Emotion

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[np.float32]
Generator = np.random.Generator
Units = Mapping[str, tuple[float, float]]

ROOT = Path(__file__).parents[1]
CLIPS = ("video/grid_s1/*.mpg", "video/latentsync/*.mp4")
N_FACES = 30_000
N_PLACES = 30_000  # faces from all over the disc
N_NETWORKS, N_HIDDEN, N_HIDDEN_AROUSAL = 3, 96, 64
STEPS, BATCH = 3000, 512
SCALE = 4.0  # weights in [0, 1] vary by about a quarter
NEUTRAL_SHARE = 1.5  # how much more often a neutral face is shown than each other label
SMILE_IN_SPEECH = 0.35  # a permitted speaker who smiles more than this is not taken for neutral

# Each variant: unit -> (strength at full emotion, chance that it is there).
PROTOTYPES: Mapping[str, tuple[Units, ...]] = {
    "neutral": (
        {},
        {},
        {"AU1": (0.55, 1), "AU2": (0.5, 0.85)},  # brows raised for emphasis, without a wide eye
        {"AU4": (0.6, 1), "AU7": (0.3, 0.3)},  # a thinking or short-sighted frown
        {"AU1": (0.4, 0.5), "AU4": (0.4, 0.5), "AU12": (0.15, 0.5), "AU7": (0.4, 0.5), "AU45": (0.2, 0.3)},
    ),
    "happy": (
        {"AU12": (0.9, 1), "AU6": (0.7, 0.8), "AU25": (0.6, 0.6), "AU26": (0.4, 0.35), "AU7": (0.3, 0.4),
         "AU10": (0.3, 0.3)},
        {"AU12": (0.6, 1), "AU6": (0.4, 0.6)},
        {"AU12": (0.9, 1), "AU6": (0.8, 0.9), "AU25": (0.8, 1), "AU10": (0.6, 0.7), "AU16": (0.3, 0.5)},
        {"AU12": (0.6, 1), "AU6": (0.4, 0.5), "AU1": (0.4, 0.6), "AU2": (0.4, 0.6), "AU25": (0.5, 0.6)},
    ),
    "sad": (
        {"AU1": (0.9, 1), "AU4": (0.6, 0.7), "AU15": (0.9, 1), "AU17": (0.7, 0.7), "AU7": (0.3, 0.3),
         "AU45": (0.2, 0.3)},
        {"AU4": (0.6, 0.8), "AU15": (0.9, 1), "AU17": (0.7, 0.6), "AU1": (0.5, 0.5)},
        {"AU1": (0.9, 1), "AU4": (0.5, 0.7), "AU15": (0.6, 0.7), "AU25": (0.3, 0.3), "AU26": (0.3, 0.3),
         "AU16": (0.3, 0.3)},
        # A pout: the expression reader takes pushed-up lips for pursed ones.
        {"AU15": (0.6, 0.8), "AU17": (0.8, 1), "AU18": (0.6, 0.7), "AU1": (0.4, 0.4), "AU4": (0.4, 0.5)},
        {"AU15": (0.5, 0.6), "AU17": (0.5, 0.6), "AU18": (0.8, 1), "AU1": (0.4, 0.4), "AU4": (0.3, 0.4)},
    ),
    "surprise": (
        {"AU1": (0.9, 1), "AU2": (0.9, 1), "AU5": (0.7, 0.8), "AU26": (0.9, 1), "AU25": (0.4, 0.5)},
        {"AU1": (0.9, 1), "AU2": (0.9, 1), "AU5": (0.7, 0.8), "AU27": (0.8, 1)},
        {"AU1": (0.6, 0.7), "AU2": (0.6, 0.7), "AU5": (0.6, 0.6), "AU27": (0.9, 1), "AU18": (0.2, 0.3)},
        {"AU1": (0.8, 1), "AU2": (0.8, 1), "AU5": (0.7, 0.7), "AU27": (0.8, 1), "AU12": (0.4, 0.6)},
    ),
    "fear": (
        {"AU1": (0.9, 1), "AU2": (0.6, 0.7), "AU4": (0.6, 0.9), "AU5": (0.9, 1), "AU20": (0.8, 0.9),
         "AU25": (0.7, 0.9), "AU26": (0.4, 0.6), "AU16": (0.5, 0.5), "AU7": (0.2, 0.3)},
        {"AU1": (0.9, 1), "AU2": (0.7, 0.8), "AU4": (0.5, 0.8), "AU5": (0.9, 0.9), "AU25": (0.6, 1),
         "AU26": (0.5, 0.8), "AU20": (0.6, 0.5), "AU10": (0.5, 0.5)},
    ),
    "disgust": (
        {"AU9": (0.9, 1), "AU4": (0.5, 0.6), "AU7": (0.7, 0.8), "AU6": (0.4, 0.5), "AU10": (0.5, 0.5),
         "AU17": (0.6, 0.7), "AU15": (0.5, 0.5), "AU25": (0.2, 0.2)},
        {"AU10": (0.9, 1), "AU9": (0.6, 0.8), "AU25": (0.5, 0.7), "AU26": (0.4, 0.4), "AU7": (0.6, 0.7),
         "AU45": (0.3, 0.4), "AU4": (0.5, 0.5)},
        {"AU10": (0.5, 0.8), "AU9": (0.7, 1), "AU17": (0.8, 1), "AU24": (0.4, 0.5), "AU7": (0.7, 0.8),
         "AU15": (0.5, 0.6), "AU45": (0.3, 0.4)},
    ),
    "anger": (
        {"AU4": (1, 1), "AU5": (0.4, 0.5), "AU7": (0.7, 0.9), "AU23": (0.7, 0.7), "AU24": (0.6, 0.6),
         "AU17": (0.5, 0.5), "AU15": (0.3, 0.3)},
        {"AU4": (1, 1), "AU7": (0.7, 0.9), "AU9": (0.5, 0.5), "AU10": (0.7, 0.9), "AU25": (0.7, 1),
         "AU26": (0.6, 0.7), "AU16": (0.6, 0.6), "AU5": (0.4, 0.3)},
        {"AU4": (1, 1), "AU7": (0.7, 0.9), "AU17": (0.6, 0.8), "AU24": (0.7, 0.8)},
    ),
    "contempt": (
        {"AU12R": (0.6, 1), "AU14R": (0.7, 0.8), "AU14L": (0.1, 0.3), "AU7": (0.2, 0.3)},
        {"AU12L": (0.6, 1), "AU14L": (0.7, 0.8), "AU4": (0.2, 0.3)},
    ),
    # No labels, but words that lie low on the disc: heavy lids, an easy smile or slack corners.
    "relaxed": (
        {"AU12": (0.4, 1), "AU6": (0.3, 0.8), "AU45": (0.2, 0.7)},
        {"AU12": (0.3, 0.8), "AU45": (0.25, 0.8)},
    ),
    "tired": (
        {"AU45": (0.5, 1), "AU15": (0.35, 0.6), "AU1": (0.25, 0.4)},
        {"AU45": (0.45, 1), "AU1": (0.3, 0.5), "AU2": (0.25, 0.3), "AU25": (0.2, 0.3), "AU26": (0.2, 0.3)},
    ),
}  # fmt: skip

# How far people's faces at rest differ, as the rig wears it and as the expression reader reports it.
LOOKS_WORN = {"browDown": 0.25, "browInnerUp": 0.2, "browOuterUp": 0.2, "mouthSmile": 0.1, "mouthFrown": 0.15,
              "eyeBlink": 0.15, "eyeWide": 0.1, "mouthPress": 0.15}  # fmt: skip
LOOKS_READ = {"browDown": 0.22, "browInnerUp": 0.15, "browOuterUp": 0.22, "eyeSquint": 0.15, "eyeBlink": 0.1,
              "mouthPress": 0.06, "mouthPucker": 0.1, "mouthShrugLower": 0.06, "mouthShrugUpper": 0.06,
              "mouthRollLower": 0.08, "mouthRollUpper": 0.05, "mouthSmile": 0.06, "mouthFrown": 0.05,
              "mouthUpperUp": 0.06, "mouthStretch": 0.05, "jawOpen": 0.02}  # fmt: skip

LOOKS_UNEQUAL = {"mouthSmile": 0.06, "mouthDimple": 0.06, "mouthFrown": 0.05, "mouthStretch": 0.05,
                 "mouthUpperUp": 0.05, "mouthLowerDown": 0.05, "browDown": 0.05}  # fmt: skip
"""How far one side of people's faces differs from the other, looks and talk alike: without it every crooked mouth reads
as contempt."""


def columns(stem: str) -> list[int]:
    names = [stem] if stem in ARKIT_NAMES else [f"{stem}Left", f"{stem}Right"]
    return [ARKIT_NAMES.index(name) for name in names]


def permitted_expressions(data: Path, cache: Path) -> list[Array]:
    """Expression weights of every permitted clip."""
    found = []
    for path in sorted(path for pattern in CLIPS for path in data.glob(pattern)):
        kept = cache / f"{path.stem}.npy"
        if not kept.exists():
            cache.mkdir(parents=True, exist_ok=True)
            seen = track_video(path)
            np.save(kept, seen.motion.expression[seen.found])
            print(f"tracked {path.name}", flush=True)
        found.append(np.load(kept))
    if not found:
        raise SystemExit(f"train_emotion: no clips in {data}; name the data folder with --data")
    return found


def speech_movements(clips: list[Array]) -> Array:
    """``(N, 52)`` what talking adds to mouth and jaw."""
    above = np.concatenate([clip - np.percentile(clip, 20, axis=0) for clip in clips])
    moving = [i for i, name in enumerate(ARKIT_NAMES) if name.startswith(("mouth", "jaw"))]
    speech = np.zeros_like(above)
    speech[:, moving] = np.clip(above[:, moving], -0.2, 1)
    speech[:, columns("mouthSmile")] = np.minimum(speech[:, columns("mouthSmile")], SMILE_IN_SPEECH)
    return np.asarray(speech, np.float32)


def worn_expressions(labels: Array, strength: Array, speech: Array, rng: Generator) -> Array:
    """``(N, 52)`` weights that people with these labels wear while they live and talk."""
    worn = np.zeros((len(labels), len(ARKIT_NAMES)), np.float32)
    for row, label, full in zip(worn, labels, strength, strict=True):
        units = variant(tuple(Emotion)[label], rng)
        share = full if label else rng.uniform(0.2, 1.2)
        row[:] = expression_from_units(shown(units, share, rng), 1)[0]
    return lived_in(worn, speech, rng)


def worn_at(places: Array, speech: Array, rng: Generator) -> Array:
    """``(N, 52)`` weights that people at places ``(N, 2)`` of the disc wear while they live and talk."""
    worn = np.zeros((len(places), len(ARKIT_NAMES)), np.float32)
    for row, place in zip(worn, places, strict=True):
        units: dict[str, float] = {}
        for label, share in zip(LABELS, disc_weights(*place), strict=True):
            if share > 0:
                share *= rng.uniform(0, 1) if label == "neutral" else 1
                for unit, strength in shown(variant(label, rng), share, rng).items():
                    units[unit] = units.get(unit, 0) + strength
        row[:] = expression_from_units(units, 1)[0]
    return lived_in(worn, speech, rng)


def variant(label: str, rng: Generator) -> Units:
    """One of a label's prototypes."""
    variants = PROTOTYPES[label]
    return variants[rng.integers(len(variants))]


def shown(units: Units, share: float, rng: Generator) -> dict[str, float]:
    """A prototype at some strength; not all of its units appear."""
    return {u: share * s * rng.uniform(0.6, 1.15) for u, (s, chance) in units.items() if rng.random() < chance}


def lived_in(worn: Array, speech: Array, rng: Generator) -> Array:
    """Prototypes ``(N, 52)`` as people wear them: uneven, half of them talking, some with a blink."""
    n = len(worn)
    worn *= 1 + 0.12 * rng.normal(size=worn.shape)
    worn += (rng.random((n, 1)) < 0.5) * rng.uniform(0.3, 1.1, (n, 1)) * speech[rng.integers(len(speech), size=n)]
    worn += np.where(rng.random(worn.shape) < 0.15, np.abs(rng.normal(size=worn.shape)) * 0.12, 0)
    blink = (rng.random((n, 1)) < 0.12) * rng.uniform(0, 0.8, (n, 1))
    worn[:, columns("eyeBlink")] = np.maximum(worn[:, columns("eyeBlink")], blink)
    return np.asarray(np.clip(worn, 0, 1), np.float32)


def seen_landmarks(worn: Array, rng: Generator) -> Array:
    """``(N, 478, 2)`` pixels of random people of the rig that wear these weights, from 35 cm to 2 m away."""
    rig, n = load_rig(), len(worn)
    betas = rng.normal(size=(n, len(rig.identity_basis))) * rng.uniform(0.3, 1.3, (n, 1))
    points = rig.template[:478] + np.tensordot(betas, rig.identity_basis[:, :478], 1)
    looks = np.zeros_like(worn)
    for stem, deviation in LOOKS_WORN.items():
        looks[:, columns(stem)] += rng.normal(size=(n, 1)) * deviation
    points += np.tensordot(worn + looks, rig.expression_basis[:, :478], 1)
    points = points @ matrix_from_axis_angle(rng.normal(size=(n, 3)) * (0.15, 0.25, 0.1)).transpose(0, 2, 1)
    distance = rng.uniform(0.35, 2, (n, 1, 1))
    pixels = points[..., :2] * (1000, -1000) * distance / (distance - points[..., 2:])
    pixels += rng.normal(size=pixels.shape) * rng.uniform(0, 0.5, (n, 1, 1))
    return np.asarray(pixels, np.float32)


def looks_as_read(n: int, rng: Generator) -> Array:
    """``(n, 52)`` what people's looks add to what the reader reports; low brows are both down and not up."""
    looks = np.zeros((n, len(ARKIT_NAMES)), np.float32)
    brows = rng.normal(size=n)
    for stem, deviation in LOOKS_READ.items():
        own = rng.normal(size=n)
        if stem == "browDown":
            own = 0.8 * brows + 0.6 * own
        elif stem.startswith("brow"):
            own = 0.7 * own - 0.7 * brows
        looks[:, columns(stem)] += (deviation * own)[:, None]
    for stem, deviation in LOOKS_UNEQUAL.items():
        wide = deviation * rng.exponential(1, (n, 1))  # a few are far from even
        looks[:, columns(stem)] += wide * rng.normal(size=(n, 2))
    return looks


def lessons(data: Path, cache: Path, rng: Generator) -> tuple[Array, npt.NDArray[np.int64], Array]:
    """Expressions as read ``(N, 52)``, labels ``(N,)`` and strengths ``(N,)``."""
    clips = permitted_expressions(data, cache)
    shares = np.array([2.0, 1.3, 1.2, 1.2, 1, 1, 1.2, 0.7])
    labels = rng.choice(len(Emotion), N_FACES, p=shares / shares.sum())
    strength = np.where(labels == 0, 0, rng.uniform(0.45, 1.1, N_FACES))
    landmarks = seen_landmarks(worn_expressions(labels, strength, speech_movements(clips), rng), rng)
    read = np.concatenate([load_reader()(block) for block in np.array_split(landmarks, 8)])
    real = np.concatenate(clips)[::2]
    real = real[real[:, columns("mouthSmile")].mean(1) < SMILE_IN_SPEECH]
    real = np.tile(real, (5, 1))
    none = np.zeros(len(real))
    return np.concatenate([read, real]), np.concatenate([labels, none.astype(int)]), np.concatenate([strength, none])


def train(read: Array, labels: Array, strength: Array, seed: int, rng: Generator) -> dict[str, Array]:
    """One network's arrays."""
    import torch
    from torch.nn.functional import cross_entropy

    read, labels, strength = np.tile(read, (2, 1)), np.tile(labels, 2), np.tile(strength, 2)
    features = emotion_features(np.clip(read + looks_as_read(len(read), rng), 0, 1))
    va = place_of(labels, strength)
    mean = features.mean(0)
    torch.manual_seed(seed)
    network = torch.nn.Sequential(
        torch.nn.Linear(features.shape[1], N_HIDDEN), torch.nn.ReLU(), torch.nn.Linear(N_HIDDEN, len(Emotion) + 2)
    )
    x, y, v = torch.tensor(SCALE * (features - mean)), torch.tensor(labels), torch.tensor(va, dtype=torch.float32)
    share = np.array([NEUTRAL_SHARE] + [1] * (len(Emotion) - 1)) / np.bincount(labels, minlength=len(Emotion))
    order = torch.multinomial(torch.tensor(share[labels]), STEPS * BATCH, replacement=True).view(STEPS, BATCH)
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, STEPS + 1)
    for step, rows in enumerate(order):
        said = network(x[rows])
        loss = cross_entropy(said[:, :-2], y[rows], label_smoothing=0.05)
        loss = loss + 2 * (torch.tanh(said[:, -2:]) - v[rows]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 500 == 0:
            print(f"step {step} of {STEPS}: loss {loss.item():.3f}", flush=True)
    return arrays_of(network, mean)


def place_of(labels: npt.NDArray[np.int64], strength: Array) -> Array:
    """``(N, 2)`` valence and arousal of labels."""
    angles = np.deg2rad([LABEL_ANGLES.get(label, 0) for label in Emotion])[labels]
    return np.minimum(strength, 1)[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)


def train_arousal(
    data: Path, cache: Path, read: Array, labels: npt.NDArray[np.int64], strength: Array, seed: int
) -> dict[str, Array]:
    """One network that tells valence and arousal, from labelled faces and from faces all over the disc."""
    import torch

    rng = np.random.default_rng([seed, 1])
    radius, angle = np.sqrt(rng.uniform(0, 1, N_PLACES)), rng.uniform(0, 2 * np.pi, N_PLACES)
    places = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    speech = speech_movements(permitted_expressions(data, cache))
    landmarks = seen_landmarks(worn_at(places, speech, rng), rng)
    read = np.concatenate([read, *(load_reader()(block) for block in np.array_split(landmarks, 8))])
    places = np.concatenate([place_of(labels, strength), places])
    read, places = np.tile(read, (2, 1)), np.tile(places, (2, 1))
    features = emotion_features(np.clip(read + looks_as_read(len(read), rng), 0, 1))
    mean = features.mean(0)
    torch.manual_seed(seed)
    network = torch.nn.Sequential(
        torch.nn.Linear(features.shape[1], N_HIDDEN_AROUSAL), torch.nn.ReLU(), torch.nn.Linear(N_HIDDEN_AROUSAL, 2)
    )
    x, y = torch.tensor(SCALE * (features - mean)), torch.tensor(places, dtype=torch.float32)
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, STEPS + 1)
    for rows in torch.randint(len(x), (STEPS, BATCH)):
        loss = (torch.tanh(network(x[rows])) - y[rows]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    print(f"arousal: loss {loss.item():.3f}", flush=True)
    return arrays_of(network, mean)


def arrays_of(network: torch.nn.Sequential, mean: Array) -> dict[str, Array]:
    """Weights of a network of one hidden layer, for features that are less ``mean`` but not scaled."""
    first, last = network[0], network[2]
    return {
        "mean": mean,
        "weight_0": SCALE * first.weight.detach().numpy().T,
        "bias_0": first.bias.detach().numpy(),
        "weight_1": last.weight.detach().numpy().T,
        "bias_1": last.bias.detach().numpy(),
    }


def averaged(networks: list[dict[str, Array]], arousal: list[dict[str, Array]]) -> dict[str, Array]:
    """One wide network that says what several say on average, as ``emotion_reader.npz`` holds it.

    Arousal, the last output, is the mean of what ``networks`` and those for ``arousal`` say.
    """
    header = {"format": "mien.EmotionReader", "version": EMOTION_READER_FORMAT, "labels": list(Emotion)}
    mean, n_outputs = networks[0]["mean"], len(networks[0]["bias_1"])
    last = []
    for one in networks:
        last.append(one["weight_1"] / len(networks))
        last[-1][:, -1] /= 2
    for one in arousal:
        last.append(np.zeros((len(one["weight_1"]), n_outputs), np.float32))
        last[-1][:, -1] = one["weight_1"][:, -1] / len(arousal) / 2
    bias = np.mean([one["bias_1"] for one in networks], 0)
    bias[-1] = (bias[-1] + np.mean([one["bias_1"][-1] for one in arousal])) / 2
    return {
        "header": np.frombuffer(json.dumps(header).encode(), np.uint8),
        "mean": mean,
        "weight_0": np.concatenate([one["weight_0"] for one in networks + arousal], 1),
        "bias_0": np.concatenate(
            [one["bias_0"] + (mean - one["mean"]) @ one["weight_0"] for one in networks + arousal]
        ),
        "weight_1": np.concatenate(last),
        "bias_1": bias,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data", help="folder with the permitted clips")
    parser.add_argument("--out", type=Path, default=ROOT / "mien/perception/data/emotion_reader.npz")
    parser.add_argument("--cache", type=Path, default=ROOT / "build/emotion", help="tracked clips are kept here")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    networks, arousal = [], []
    for seed in range(options.seed, options.seed + N_NETWORKS):
        rng = np.random.default_rng(seed)
        faces = lessons(options.data, options.cache, rng)
        networks.append(train(*faces, seed, rng))
        arousal.append(train_arousal(options.data, options.cache, *faces, seed))
    np.savez_compressed(options.out, **averaged(networks, arousal))
    print(f"wrote {options.out}; judge it with scripts/check_emotion.py")


if __name__ == "__main__":
    main()
