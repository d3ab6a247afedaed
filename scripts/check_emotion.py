"""Judge mien's own reader of emotion on labelled pictures and clips it has not learned from.

    ./run python scripts/check_emotion.py --data ../shared/data

Prints the tables of ``mien/perception/data/emotion_reader.md``. Labels are the publishers' (in file names); those of
the files marked by eye are ours. All eight labels may be given, though nothing here shows contempt.

How clips are pooled over time was chosen with some of these people in view, so ``leave_out`` chooses it again for every
person from the others alone, among :data:`POOLING`, and prints what that choice makes of the person left out.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import islice, product
from pathlib import Path

import numpy as np

from mien.media.image import read_image
from mien.media.video import VideoReader
from mien.perception import emotion
from mien.perception.emotion import load_emotion_reader
from mien.perception.tracking import track_image, track_video
from mien.types import EmotionTrack, FaceMotion

Shown = tuple[str, float, float, str]

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
CALM_PICTURES = (
    "liveportrait/s0.jpg", "liveportrait/s3.jpg", "liveportrait/s4.jpg", "liveportrait/s8.jpg", "liveportrait/s9.jpg",
    "liveportrait/s10.jpg", "liveportrait/s12.jpg", "sadtalker/art_1.png", "sadtalker/art_11.png",
    "sadtalker/art_14.png", "sadtalker/art_19.png", "sadtalker/full_body_1.png",
)  # fmt: skip
"""Paintings and drawings, and one old photograph, that look calm to us."""
CLIPS = {
    "styletalk_style/furious_talk1_clip1.mp4": "anger", "styletalk_style/furious_talk1_clip2.mp4": "anger",
    "styletalk_style/furious_talk2_clip1.mp4": "anger", "styletalk_style/happyenglish_clip2.mp4": "happy",
}  # fmt: skip
CALM_SPEECH = ("styletalk_source/*.mp4", "edtalk/pose_source2.mp4", "edtalk/mouth_source.mp4", "icface/00296.mp4")
"""Speeches and talks without a stated emotion: taken for neutral, which their speakers may not always have been."""

FURIOUS_TALK = tuple(
    f"styletalk_style/furious_{name}.mp4"
    for name in (
        "talk1_clip1",
        "talk1_clip2",
        "talk2_clip1",
        "talk2_clip2",
        "talk2_clip4",
        "talk2_clip5",
        "talk2_clip7",
    )
)
HAPPY_TALK = (
    "styletalk_style/happyenglish_clip2.mp4", "styletalk_style/furious_talk2_clip3.mp4",
    "styletalk_style/furious_talk2_clip6.mp4",
)  # fmt: skip
"""Talk that is excited; the last two of the furious speaker's are happy, by eye."""

MOMENTS = (
    ("liveportrait/d0.mp4", 1.0, 2.5, "happy"), ("liveportrait/d3.mp4", 10.0, 11.8, "surprise"),
    ("liveportrait/d9.mp4", 0.0, 3.3, "neutral"), ("liveportrait/d9.mp4", 9.9, 12.0, "happy"),
    ("liveportrait/d13.mp4", 6.5, 8.5, "happy"), ("liveportrait/d19.mp4", 7.6, 8.3, "happy"),
    ("pyfeat/WolfgangLanger_Pexels.mp4", 0.0, 2.4, "sad"), ("pyfeat/WolfgangLanger_Pexels.mp4", 10.3, 12.0, "happy"),
)  # fmt: skip
"""Seconds of clips in which faces change, labelled by eye from the pictures alone."""

POOLING = list(product((0.4, 0.8, 1.5), (0.0, 0.5, 1.0), (0.0, 0.5, 1.0, 2.0)))
"""Label smoothing in seconds, share of raised brows and open jaws that is habit in a long clip, seconds whose middle
stands for what speech does with lips and jaw."""


def clip_motion(path: Path) -> FaceMotion:
    reader = VideoReader(path)
    return track_video(islice(reader, round(SECONDS * reader.fps)), fps=reader.fps).motion


def said(track: EmotionTrack) -> list[str]:
    return [label.value for label in track.best()]


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
        read, (valence, arousal) = said(track)[0], track.va[0]
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
    calm_ones = {name: reader(track_image(read_image(data / "portraits" / name)).rest) for name in CALM_PICTURES}
    read_calm = sum(said(track) == ["neutral"] for track in calm_ones.values())
    print(f"calm pictures by eye read as neutral: {read_calm} of {len(calm_ones)}; the others as", end=" ")
    print(", ".join(f"{said(track)[0]} ({name})" for name, track in calm_ones.items() if said(track) != ["neutral"]))
    calm = {f"{path.parent.name}/{path.name}": "neutral" for p in CALM_SPEECH for path in (data / "video").glob(p)}
    labels = CLIPS | dict(sorted(calm.items()))
    shown = [*((name, 0.0, np.inf, label) for name, label in labels.items()), *MOMENTS]
    motions = {name: clip_motion(data / "video" / name) for name in dict.fromkeys(name for name, *_ in shown)}
    print("\n| clip | seconds | label | frames right | valence sign right | mean valence | mean arousal |")
    print("|---|---|---|---|---|---|---|")
    signs = []
    for name, start, end, label in shown:
        track, frames = reader(motions[name]), span(motions[name], start, end)
        valence, arousal = track.va[frames].T
        share = np.mean([read == label for read in said(track)[frames]])
        sign = [] if label == "neutral" else list((valence > 0) == (label in PLEASANT))
        signs += sign
        time = "all" if end > SECONDS else f"{start:g} to {end:g}"
        told = f"{np.mean(sign):.0%}" if sign else ""
        print(f"| {name} | {time} | {label} | {share:.0%} | {told} | {valence.mean():.2f} | {arousal.mean():.2f} |")
    print(f"\nvalence sign, frames with an emotion: {np.mean(signs):.0%} of {len(signs)}")
    motions |= {name: clip_motion(data / "video" / name) for name in FURIOUS_TALK + HAPPY_TALK if name not in motions}
    excitement(motions, list(calm))
    leave_out(motions, shown)


def excitement(motions: Mapping[str, FaceMotion], calm: Sequence[str]) -> None:
    """Whether excited talk reads as more aroused than calm talk: chance that one of a pair does."""
    arousal = {name: load_emotion_reader()(motion).va[:, 1] for name, motion in motions.items()}
    print("\n| more aroused than calm talk | clip by clip | frame by frame | mean arousal | of calm talk |")
    print("|---|---|---|---|---|")
    for title, names in (("furious", FURIOUS_TALK), ("furious and happy", FURIOUS_TALK + HAPPY_TALK)):
        (high, low), (highs, lows) = (
            [[arousal[name].mean() for name in each] for each in (names, calm)],
            [np.concatenate([arousal[name] for name in each]) for each in (names, calm)],
        )
        chances = [np.mean(np.subtract.outer(a, b) > 0) for a, b in ((high, low), (highs, lows))]
        print(f"| {title} | {chances[0]:.2f} | {chances[1]:.2f} | {np.mean(high):.2f} | {np.mean(low):.2f} |")


def span(motion: FaceMotion, start: float, end: float) -> slice:
    """The frames between two times."""
    return slice(round(start * motion.fps), len(motion) if end > SECONDS else round(end * motion.fps))


def leave_out(motions: Mapping[str, FaceMotion], shown: Sequence[Shown]) -> None:
    """Frames right of people who had no say in how clips are pooled."""
    reader = load_emotion_reader()
    shares: dict[tuple[float, float, float], list[float]] = {}
    for pooling in POOLING:
        emotion.LABEL_SMOOTHING, emotion.RAISED_HABIT, emotion.HOLD_SECONDS = pooling
        read = {name: said(reader(motion)) for name, motion in motions.items()}
        shares[pooling] = [
            float(np.mean([one == label for one in read[name][span(motions[name], start, end)]]))
            for name, start, end, label in shown
        ]
    print("\n| clip | label | chosen without this person | frames right |\n|---|---|---|---|")
    right: dict[str, list[float]] = defaultdict(list)
    for i, (name, _, _, label) in enumerate(shown):
        best = max(POOLING, key=lambda pooling: score(shares[pooling], shown, without=person(name)))
        right[label].append(shares[best][i])
        print(f"| {name} | {label} | {best} | {right[label][-1]:.0%} |")
    print("mean over clips:", ", ".join(f"{label} {np.mean(values):.0%}" for label, values in right.items()))
    print(f"all clips: {np.mean([value for values in right.values() for value in values]):.0%}")


def person(name: str) -> str:
    """Who a clip shows, by its name: one furious speaker, and everybody else by the first word."""
    return Path(name).stem.split("_")[0]


def score(shares: Sequence[float], shown: Sequence[Shown], without: str) -> float:
    """Mean over labels of the mean over people of frames right."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for share, (name, _, _, label) in zip(shares, shown, strict=True):
        if person(name) != without:
            found[label][person(name)].append(share)
    return float(np.mean([np.mean([np.mean(clips) for clips in people.values()]) for people in found.values()]))


if __name__ == "__main__":
    main()
