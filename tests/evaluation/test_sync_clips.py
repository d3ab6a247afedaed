"""The ridge score on filmed talk: in step ahead of shifted, the delay found (all clips: scripts/check_sync.py)."""

import numpy as np
import pytest
from reference import DATA, FACE_LANDMARKER

from mien.evaluation.measures import mouth_shape
from mien.evaluation.observer import Observer
from mien.media.audio import read_audio
from mien.media.video import VideoReader
from mien.metrics import log_mel, sync_score

VIDEO = DATA / "video"


@pytest.mark.parametrize("name", ["edtalk/mouth_source.mp4", "icface/00296.mp4"])
def test_a_filmed_clip_is_ahead_of_itself_shifted_by_200_ms(name):
    path = VIDEO / name
    if not path.exists() or not FACE_LANDMARKER.exists():
        pytest.skip("the shared test clips or the Face Landmarker are not here")
    reader, observer = VideoReader(path), Observer(FACE_LANDMARKER)
    points = [observer(frame) for frame in reader.between(0, round(8 * reader.fps))]
    rows = np.flatnonzero([point is not None for point in points])
    mouth = mouth_shape(np.stack([points[i] for i in rows]))
    sound = path.with_suffix(".wav")
    audio = read_audio(sound if sound.exists() else path, 16_000)
    heard = log_mel(audio, reader.fps, len(points))[rows]
    step = round(0.2 * reader.fps)
    score = sync_score(heard, mouth, reader.fps)
    assert abs(score.lag) <= 0.08 and score.best > 0.3 > score.off_peak
    late, early = (
        sync_score(heard[:-step], mouth[step:], reader.fps),
        sync_score(heard[step:], mouth[:-step], reader.fps),
    )
    assert score.at_zero > max(late.at_zero, early.at_zero)
    assert late.lag == pytest.approx(score.lag - 0.2, abs=0.05)  # the rows were moved by as much
