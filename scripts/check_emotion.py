"""Judge mien's own reader of emotion on labelled pictures and clips it has not learned from.

    ./run python scripts/check_emotion.py --data ../shared/data

Prints the tables of ``mien/perception/data/emotion_reader.md``. Labels are the publishers' (in file names); those of
the files marked by eye are ours. Top-1 is over seven emotions: contempt is left out, for nothing here shows it.

How clips are pooled over time was chosen with these people in view, so ``leave_out`` chooses it again for every person
from the others alone, among :data:`POOLING`, and prints what that choice makes of the person left out.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping
from itertools import islice, product
from pathlib import Path

import numpy as np

from mien.media.image import read_image
from mien.media.video import VideoReader
from mien.perception import emotion
from mien.perception.emotion import load_emotion_reader
from mien.perception.tracking import track_image, track_video
from mien.types import EmotionTrack, FaceMotion

ROOT = Path(__file__).parents[1]
SECONDS = 12
PLEASANT = ("happy", "surprise")

STILLS = {
    "faceapi_emotions/angry.jpg": "anger", "faceapi_emotions/disgusted.jpg": "disgust",
    "faceapi_emotions/fearful.jpg": "fear", "faceapi_emotions/happy.jpg": "happy",
    "faceapi_emotions/neutral.jpg": "neutral", "faceapi_emotions/sad.jpg": "sad",
    "faceapi_emotions/surprised.jpg": "surprise", "pyfeat/0-f1-su-ph.jpg": "surprise",
    "pyfeat/0-f15-hao-ph.jpg": "happy", "pyfeat/15-f13-anc-ph.jpg": "anger", "pyfeat/45-m7-di-ph.jpg": "disgust",
    "sadtalker/happy.png": "happy", "sadtalker/happy1.png": "happy", "sadtalker/sad.png": "sad",
    "sadtalker/sad1.png": "sad",
    "pyfeat/multi_face.jpg": "happy", "pyfeat/single_face.jpg": "happy", "liveportrait/d8.jpg": "sad",
    "liveportrait/d9.jpg": "surprise",  # these four by eye
}  # fmt: skip
CLIPS = {
    "styletalk_style/furious_talk1_clip1.mp4": "anger", "styletalk_style/furious_talk1_clip2.mp4": "anger",
    "styletalk_style/furious_talk2_clip1.mp4": "anger", "styletalk_style/happyenglish_clip2.mp4": "happy",
}  # fmt: skip
CALM_SPEECH = ("styletalk_source/*.mp4", "edtalk/pose_source2.mp4", "edtalk/mouth_source.mp4")
"""Speeches and talks without a stated emotion: taken for neutral, which their speakers may not always have been."""


POOLING = list(product((0.4, 1.0, 1.5), (0.3, 0.7, 1.0), (30, 40, 50, 100)))
"""Label smoothing in seconds, share of raised brows that is habit in a long clip, quantile of parted lips; the largest
quantile stands for lips as they are."""


def clip_motion(path: Path) -> FaceMotion:
    reader = VideoReader(path)
    return track_video(islice(reader, round(SECONDS * reader.fps)), fps=reader.fps).motion


def seven(track: EmotionTrack) -> list[str]:
    assert track.probabilities is not None
    return [track.labels[i].value for i in track.probabilities[:, :7].argmax(1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data")
    data = parser.parse_args().data
    reader = load_emotion_reader()
    right: dict[str, list[bool]] = defaultdict(list)
    signs: list[bool] = []
    print("| picture | label | read as | valence | arousal |\n|---|---|---|---|---|")
    for name, label in STILLS.items():
        track = reader(track_image(read_image(data / "portraits" / name)).rest)
        read, (valence, arousal) = seven(track)[0], track.va[0]
        right[label].append(read == label)
        if label != "neutral":
            signs.append((valence > 0) == (label in PLEASANT))
        print(f"| {name} | {label} | {read} | {valence:.2f} | {arousal:.2f} |")
    print("\n| label | pictures | right |\n|---|---|---|")
    for label, hits in right.items():
        print(f"| {label} | {len(hits)} | {sum(hits)} |")
    hits = [hit for each in right.values() for hit in each]
    print(f"| all | {len(hits)} | {sum(hits)} ({np.mean(hits):.0%}) |")
    print(f"\nvalence sign, pictures with an emotion: {np.mean(signs):.0%}")
    calm = {f"{path.parent.name}/{path.name}": "neutral" for p in CALM_SPEECH for path in (data / "video").glob(p)}
    labels = CLIPS | dict(sorted(calm.items()))
    motions = {name: clip_motion(data / "video" / name) for name in labels}
    print("\n| clip | label | frames right | valence sign right | mean valence | mean arousal |")
    print("|---|---|---|---|---|---|")
    for name, label in labels.items():
        track = reader(motions[name])
        share = np.mean([read == label for read in seven(track)])
        sign = "" if label == "neutral" else f"{np.mean((track.va[:, 0] > 0) == (label in PLEASANT)):.0%}"
        print(
            f"| {name} | {label} | {share:.0%} | {sign} | {track.va[:, 0].mean():.2f} | {track.va[:, 1].mean():.2f} |"
        )
    leave_out(motions, labels)


def leave_out(motions: Mapping[str, FaceMotion], labels: Mapping[str, str]) -> None:
    """Frames right in clips whose people had no say in how clips are pooled."""
    reader = load_emotion_reader()
    shares: dict[tuple[float, float, int], dict[str, float]] = {}
    for pooling in POOLING:
        emotion.LABEL_SMOOTHING, emotion.RAISED_HABIT, quantile = pooling
        emotion.HOLD_QUANTILE, emotion.HOLD_SECONDS = (quantile, 1.0) if quantile < 100 else (50, 0.0)
        shares[pooling] = {n: float(np.mean([r == labels[n] for r in seven(reader(m))])) for n, m in motions.items()}
    print("\n| clip | chosen without this person | frames right |\n|---|---|---|")
    right: dict[str, list[float]] = defaultdict(list)
    for name, label in labels.items():
        best = max(POOLING, key=lambda pooling: score(shares[pooling], labels, without=person(name)))
        right[label].append(shares[best][name])
        print(f"| {name} | {best} | {right[label][-1]:.0%} |")
    print("mean over clips:", ", ".join(f"{label} {np.mean(values):.0%}" for label, values in right.items()))
    print(f"all clips: {np.mean([value for values in right.values() for value in values]):.0%}")


def person(name: str) -> str:
    """Who a clip shows, by its name: one furious speaker, and everybody else by the first word."""
    return Path(name).stem.split("_")[0]


def score(shares: Mapping[str, float], labels: Mapping[str, str], without: str) -> float:
    """Mean over labels of the mean over people of frames right."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for name, label in labels.items():
        if person(name) != without:
            found[label][person(name)].append(shares[name])
    return float(np.mean([np.mean([np.mean(clips) for clips in people.values()]) for people in found.values()]))


if __name__ == "__main__":
    main()
