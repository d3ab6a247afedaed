"""How well ``mien redirect`` does what it promises, on clips that nothing was trained on.

    python scripts/check_redirect.py --sources CLIP... --references happy=CLIP sad=CLIP ... [--render]

Sources and references are videos or motions; several references of one emotion are several tries. For each method and
emotion, the mean over sources (and tries):

    moved    share of the way that the mean expression goes from the source to the reference (labels: of the way that
             the emotion lane of mien speak takes it), without eye movements and what opens the mouth
    kept     the same after the speech is kept, as the output is drawn
    r        correlation of the lip aperture with the source's, on the rig
    closed   share of the source's closed frames (aperture below 10 % of its 95th percentile) that stay closed
    cycle    NED: translated and then, what came out with the source as its reference, back; root mean square error
             over the standard deviation of the source, of the translation alone, which has seen nothing but the two
    chain    the same as mien redirect does it, the speech kept on both ways

With --render the videos among the sources are drawn, tracked again, and r, closed and kept are measured on that.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mien.face.rig import load_rig
from mien.media.video import VideoReader
from mien.metrics import lip_aperture, pearson
from mien.motion.emotion import emotion_over
from mien.motion.keep_speech import keep_gaps, keep_speech
from mien.motion.ned_reversible import CURVES, FEELING, style_of, translate
from mien.perception.tracking import Track, track_video
from mien.pipelines.ned import is_reversible, motion_of, ned_motion
from mien.rendering.video import WarpVideoRenderer
from mien.spans import EmotionSpan, parse_spans, plan_spans
from mien.types import Array, FaceIdentity, FaceMotion

_OPENING = ("mouthClose", "mouthFunnel", "mouthUpperUp", "mouthLowerDown", "mouthShrugUpper", "mouthRoll")
SHAPES = tuple(name for name in FEELING if not name.startswith(_OPENING))
SIX = ("happy", "sad", "anger", "surprise", "fear", "disgust")


def posture(motion: FaceMotion) -> Array:
    """Mean of the expressions that show an emotion."""
    return np.stack([motion.column(name) for name in SHAPES], 1).mean(0)


def share(source: Array, output: Array, goal: Array) -> float:
    """How far along the way from source to goal the output lies."""
    way = goal - source
    return float((output - source) @ way / (way @ way))


def speech(source: Array, output: Array) -> tuple[float, float]:
    """Correlation of apertures, and the share of closed frames that stay closed."""
    closed = source < 0.1 * np.percentile(source, 95)
    still = output[closed] < 0.1 * np.percentile(output, 95)
    return pearson(source, output), float(still.mean()) if closed.any() else float("nan")


def rig_aperture(motion: FaceMotion, identity: FaceIdentity | None) -> Array:
    """Mean gap of the middle of the lips, metres; lips that press on each other have none."""
    rig = load_rig()
    pairs = rig.closures["lips"][2:-2]
    height = rig.vertices(motion, identity)[..., 1]
    return np.maximum(height[:, pairs[:, 0]] - height[:, pairs[:, 1]], 0).mean(1)


def report(name: str, rows: Sequence[Sequence[float]]) -> None:
    values = np.nanmean(np.array(rows, np.float64), 0)
    print(f"{name:<26} " + " ".join(f"{value:7.2f}" for value in values), flush=True)


def loss(source: FaceMotion, back: FaceMotion) -> float:
    """Root mean square error over the standard deviation of the source."""
    before, after = (np.stack([motion.column(name) for name in CURVES], 1) for motion in (source, back))
    return float(np.sqrt(np.mean((after - before) ** 2) / before.var(0).mean()))


def spoken(
    method: str, before: FaceMotion, after: FaceMotion, identity: FaceIdentity | None, weights: Path | None
) -> FaceMotion:
    """The wanted motion with the speech kept as mien redirect keeps it."""
    if method == "rules" or not is_reversible(weights):
        return keep_speech(before, after, identity=identity)
    return keep_gaps(before, after, identity=identity)


def drawn(path: Path, seen: Track, motion: FaceMotion) -> Track:
    """The video in another motion, tracked again."""
    portraits = (seen.portrait(i, frame) for i, frame in enumerate(VideoReader(path)) if i < len(motion))
    return track_video(WarpVideoRenderer().render(portraits, motion), fps=motion.fps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=Path, nargs="+", required=True)
    parser.add_argument("--references", nargs="*", default=[], help="EMOTION=CLIP")
    parser.add_argument("--weights", type=Path, help="of NED")
    parser.add_argument("--render", action="store_true")
    options = parser.parse_args()
    videos = {path: track_video(path) for path in options.sources if path.suffix not in (".npz", ".csv")}
    sources = {path: videos[path].motion if path in videos else motion_of(path, None) for path in options.sources}
    tries = [(text.partition("=")[0], motion_of(Path(text.partition("=")[2]), None)) for text in options.references]
    print(f"{'method, emotion':<26}   moved    kept       r  closed   cycle   chain")
    cases = [(method, emotion, None) for method in ("rules", "ned") for emotion in SIX]
    cases += [("reference", emotion, motion) for emotion, motion in tries]
    for method, emotion, reference in cases:
        rows = []
        for path, source in sources.items():
            identity = videos[path].identity if path in videos else None
            span = EmotionSpan(None) if reference is not None else parse_spans(emotion)[0]
            plan, home = (plan_spans([each], len(source), source.fps) for each in (span, EmotionSpan(None)))
            goal = emotion_over(source, plan.weights) if reference is None else reference
            references = [] if reference is None else [reference]
            full = goal if method == "rules" else ned_motion(source, plan, references, weights=options.weights)
            kept = spoken(method, source, full, identity, options.weights)
            cycle = chain = float("nan")
            if method != "rules":
                cycle = loss(source, ned_motion(full, home, [source], weights=options.weights))
                back = ned_motion(kept, home, [source], weights=options.weights)
                chain = loss(source, spoken(method, kept, back, identity, options.weights))
            start, end = posture(source), posture(goal)
            r, closed = speech(rig_aperture(source, identity), rig_aperture(kept, identity))
            after = posture(kept)
            if options.render and path in videos:
                again = drawn(path, videos[path], replace(kept, head_pose=source.head_pose))
                r, closed = speech(lip_aperture(videos[path].landmarks), lip_aperture(again.landmarks))
                after = posture(again.motion)
            rows.append([share(start, posture(full), end), share(start, after, end), r, closed, cycle, chain])
        report(f"{method} {emotion}", rows)

    motion = FaceMotion.zeros(3000, 25.0)
    began = time.perf_counter()
    translate(motion, style_of(tries[0][1] if tries else motion))
    print(f"translation: {len(motion) / (time.perf_counter() - began):.0f} frames per second")


if __name__ == "__main__":
    main()
