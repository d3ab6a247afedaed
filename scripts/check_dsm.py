"""How well DSM does what it promises, on people whom it was trained on and film that it was not.

    python scripts/check_dsm.py --people FOLDER... [--motions NAME=FILE,FILE...] [--video VIDEO --person FOLDER]

People are folders of ``mien prepare``; --motions makes one of motion files (.npz, or .csv of Live Link Face), for
captures that have no pictures. Whoever has no decoder yet gets one with the fast setting.

For each person:
    decoder, mean, generic   root mean squared error of expression weights on the held-out end of every clip
    V, A                     Spearman's correlation of what was asked and what mien's own estimator reads back, over a
                             grid of the points that the person is known at, through the speech that is kept, on four
                             seconds of the person's first clip; n is the number of points
With --video, for each emotion asked for in the middle half of the video, drawn by ``mien redirect`` and tracked again:
    r, closed   correlation of the lip aperture with the source's, and share of its closed frames that stay closed
    sync        correlation of sound and picture as a share of the source's
    outside     lowest PSNR in dB of a frame outside the stretch
    read        valence and arousal read back inside the stretch, and asked
"""

import argparse
import logging
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mien.direction import EmotionKey
from mien.evaluation.measures import mouth_shape
from mien.media.audio import read_audio
from mien.media.motion_file import read_motion
from mien.media.person_folder import PersonClip, load_person, write_clip, write_manifest
from mien.media.video import VideoReader
from mien.metrics import lip_aperture, log_mel, pearson, psnr, spearman, sync_score
from mien.motion.keep_speech import keep_speech
from mien.perception.emotion import load_emotion_reader
from mien.perception.tracking import Track, track_video
from mien.pipelines.dsm import dsm_motion, is_trained, load_decoder
from mien.pipelines.redirect import RedirectOptions, redirect
from mien.spans import EmotionSpan, plan_spans
from mien.training.options import TrainDsmOptions
from mien.training.train import train_dsm
from mien.types import ActionUnits, FaceIdentity

EMOTIONS = ("happy:0.8", "sad:0.8", "anger:0.8", "surprise:0.8")
_STEP = 0.1  # of the grid over the disc
_SECONDS = 4.0


def person_of_motions(folder: Path, files: Sequence[Path]) -> Path:
    """A person's folder without pictures."""
    (folder / "clips").mkdir(parents=True)
    clips = []
    for path in files:
        motion = read_motion(path).resample(30)
        n = len(motion)
        clip = PersonClip(
            folder=folder, name=path.stem, source=path.name, sha256=path.name, size=(0, 0), motion=motion,
            identity=FaceIdentity(motion.rig, np.zeros(0), np.zeros((478, 3))), cameras=np.zeros((n, 3), np.float32),
            landmarks=np.zeros((n, 478, 3), np.float32), found=np.ones(n, np.bool_),
            emotion=load_emotion_reader()(motion), units=ActionUnits(np.zeros((n, 0)), (), motion.fps),
            boxes=np.zeros((n, 3), np.float32), sharpness=np.zeros(n, np.float32), shots=(0,),
            blinks=np.zeros((0, 2), np.float32), quality={},
        )  # fmt: skip
        write_clip(clip)
        clips.append(clip)
    write_manifest(folder, 0, {}, clips, "")
    return folder


def read_back(folder: Path) -> tuple[int, float, float]:
    """Number of points, and the correlation of asked and read valence and arousal."""
    model, clip = load_decoder(folder), load_person(folder).clips[0]
    source = clip.motion[: round(_SECONDS * clip.fps)]
    identity = clip.identity if len(clip.identity.betas) else None
    line = np.arange(-1, 1 + _STEP / 2, _STEP)
    grid = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2).astype(np.float32)
    asked = grid[(model.coverage(grid) >= 0.5) & (np.hypot(*grid.T) <= 1)]
    read = []
    for valence, arousal in asked:
        span = EmotionSpan(EmotionKey(va=(float(valence), float(arousal))))
        plan = plan_spans([span], len(source), source.fps)
        wanted = dsm_motion(source, plan, folder, intensity=1, faithful=False, seed=0, identity=identity)
        kept = keep_speech(source, wanted, identity=identity)
        read.append(load_emotion_reader()(kept).va.mean(0))
    valence, arousal = (spearman(asked[:, axis], np.array(read)[:, axis]) for axis in (0, 1))
    return len(asked), valence, arousal


def on_video(video: Path, person: Path, emotion: str, seen: Track, output: Path) -> None:
    """One row of the second table."""
    duration, fps = seen.motion.duration, seen.motion.fps
    start, end = round(duration / 4, 2), round(3 * duration / 4, 2)
    began = time.perf_counter()
    redirect(RedirectOptions(video, output, f"{start}s-{end}s:{emotion}", person=person, method="dsm"))
    speed = len(seen.motion) / (time.perf_counter() - began)
    again = track_video(output)
    inside = slice(round((start + 0.5) * fps), round((end - 0.5) * fps))
    before, after = (lip_aperture(track.landmarks)[inside] for track in (seen, again))
    closed = before < 0.1 * np.percentile(before, 95)
    stays = (after[closed] < 0.1 * np.percentile(after, 95)).mean() if closed.any() else np.nan
    outside = [
        psnr(a, b)
        for i, (a, b) in enumerate(zip(VideoReader(video), VideoReader(output), strict=False))
        if not start <= i / fps < end
    ]
    read = load_emotion_reader()(again.motion).va[inside].mean(0)
    was = load_emotion_reader()(seen.motion).va[inside].mean(0)
    print(
        f"{emotion:<14} {pearson(before, after):6.3f} {stays:7.2f} {sync_share(video, seen, again):6.2f} "
        f"{min(outside):8.1f}   ({was[0]:+.2f} {was[1]:+.2f}) -> ({read[0]:+.2f} {read[1]:+.2f}) {speed:8.1f}",
        flush=True,
    )


def sync_share(video: Path, seen: Track, again: Track) -> float:
    """The best correlation of the sound with the mouth drawn, over that with the mouth filmed.

    Of the mouth's shape in landmarks, as `mien evaluate` has it: expression weights hold the emotion as well.
    """
    if not VideoReader(video).has_sound:
        return float("nan")
    sound = log_mel(read_audio(video, 16_000), seen.motion.fps, len(seen.motion))
    scores = [sync_score(sound, mouth_shape(t.landmarks), t.motion.fps).best for t in (seen, again)]
    return scores[1] / scores[0]


def main() -> None:
    logging.getLogger("mien").setLevel(logging.ERROR)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=Path, nargs="*", default=[])
    parser.add_argument("--motions", nargs="*", default=[], help="NAME=FILE,FILE...")
    parser.add_argument("--video", type=Path)
    parser.add_argument("--person", type=Path, help="whose decoder moves the video")
    parser.add_argument("--emotions", nargs="*", default=EMOTIONS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        made = [(name, person_of_motions(Path(scratch) / name, [Path(f) for f in files.split(",")]))
                for name, _, files in (text.partition("=") for text in options.motions)]  # fmt: skip
        people = [(folder.name, folder) for folder in options.people] + made
        if people:
            print(f"{'person':<18} seconds decoder    mean generic  below     n      V      A")
        for name, folder in people:
            result = train_dsm(TrainDsmOptions(folder))
            seconds = sum(clip.motion.duration for clip in load_person(folder).clips)
            best = min(result.mean, result.generic)
            n, valence, arousal = read_back(folder)
            print(f"{name:<18} {seconds:7.0f} {result.decoder:7.4f} {result.mean:7.4f} {result.generic:7.4f} "
                  f"{1 - result.decoder / best:6.0%} {n:5d} {valence:6.3f} {arousal:6.3f}", flush=True)  # fmt: skip
        if options.video is not None:
            if not is_trained(options.person):
                train_dsm(TrainDsmOptions(options.person))
            seen = track_video(options.video)
            print("\nemotion             r  closed   sync  outside   valence, arousal                 frames/s")
            for emotion in options.emotions:
                on_video(options.video, options.person, emotion, seen, Path(scratch) / "out.mp4")


if __name__ == "__main__":
    main()
