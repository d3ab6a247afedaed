"""Live Link Face CSV: the file that Apple's face capture leaves behind and that Unreal and Blender tools read.

Convention of the file (eye columns and times checked on real iPhone captures, whose eye angles follow their own
``EyeLook`` weights with a correlation above 0.94):
    63 columns: ``Timecode, BlendshapeCount``, 52 weights in [0, 1] under ARKit's names (first letter a capital), then
    yaw, pitch and roll of the head, of the left and of the right eye;
    ``Timecode`` is ``HH:MM:SS:FF.fff`` where ``FF.fff`` counts sixtieths of a second whatever the capture rate;
    angles are radians; positive yaw looks to the subject's right, positive pitch down, positive roll tilts clockwise as
    the viewer sees it, so yaw and roll have the opposite sign of mien's; the rotation is yaw after pitch after roll.
    The captures at hand were made with head rotation switched off, so the head's signs are taken to be the eyes'.
    Translation and offsets have no column and are lost.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.errors import FormatError, InputError
from mien.types import ARKIT_NAMES, Array, FaceMotion

ANGLE_NAMES: tuple[str, ...] = tuple(f"{part}{axis}" for part in ("Head", "LeftEye", "RightEye")
                                     for axis in ("Yaw", "Pitch", "Roll"))  # fmt: skip
HEADER: tuple[str, ...] = ("Timecode", "BlendshapeCount", *(n[0].upper() + n[1:] for n in ARKIT_NAMES), *ANGLE_NAMES)

_TICKS = 60
"""``FF`` of a time code counts these per second."""
_USUAL_RATES = (24000 / 1001, 24.0, 25.0, 30000 / 1001, 30.0, 50.0, 60000 / 1001, 60.0)
_DAY = 24 * 3600.0

_log = logging.getLogger(__name__)


def write_livelink(path: str | Path, motion: FaceMotion, *, start: float = 0.0) -> None:
    """Write a motion as Live Link Face CSV.

    Args:
        path: the file to write.
        motion: a motion whose expressions carry ARKit's names; missing ones are written as 0.
        start: time of the first row in seconds since midnight.

    Raises:
        InputError: if the motion has an expression that the format has no column for.
    """
    unknown = [name for name in motion.expression_names if name not in ARKIT_NAMES]
    if unknown:
        raise InputError(
            f"{path}: Live Link Face has no column for {', '.join(unknown[:3])} of rig {motion.rig!r}",
            "retarget the motion to the builtin rig first",
        )
    weights = np.zeros((len(motion), len(ARKIT_NAMES)))
    weights[:, [ARKIT_NAMES.index(name) for name in motion.expression_names]] = motion.expression
    angles = [_angles(rotation) for rotation in (motion.head_pose, motion.eye_pose[:, 0], motion.eye_pose[:, 1])]
    with Path(path).open("w", newline="", encoding="ascii") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        for i, row in enumerate(np.hstack([weights, *angles])):
            # "+ 0.0" turns a negative zero into a plain one
            writer.writerow([_timecode(start + i / motion.fps), "61", *(f"{value + 0.0:.10f}" for value in row)])


def read_livelink(path: str | Path, *, fps: float | None = None) -> FaceMotion:
    """Read a Live Link Face CSV; columns are found by name, further columns are ignored.

    Args:
        path: the file.
        fps: frames per second, if the time codes shall not be trusted.

    Returns:
        Motion on the builtin rig with zero translation. Rows that a capture dropped are filled in linearly.

    Raises:
        FormatError: if the file is no Live Link CSV or a row is damaged; the message names the line.
        InputError: if the file cannot be read.
    """
    path = Path(path)
    times, values = _read_rows(path)
    if fps is None:
        fps = _rate(path, times)
        values = _evenly(values, times, fps)
    n = len(ARKIT_NAMES)
    eyes = [_rotation(values[:, n + 3 * i : n + 3 * i + 3]) for i in (1, 2)]
    return FaceMotion(
        fps=fps,
        rig="builtin",
        expression_names=ARKIT_NAMES,
        expression=values[:, :n].astype(np.float32),
        jaw_pose=np.zeros((len(values), 3), np.float32),
        head_pose=_rotation(values[:, n : n + 3]),
        eye_pose=np.stack(eyes, axis=1),
        translation=np.zeros((len(values), 3), np.float32),
    )


def _read_rows(path: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Times in seconds ``(T,)`` and the 61 values ``(T, 61)`` of a file."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            columns = _columns(path, next(rows, []))
            times, values = [], []
            for row in rows:
                if not row:
                    continue
                try:
                    times.append(_seconds(row[0]))
                    values.append([float(row[column]) for column in columns])
                except (ValueError, IndexError) as error:
                    raise FormatError(f"{path}: line {rows.line_num} is damaged ({error})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path}: is not a text file with comma-separated values ({error})") from error
    if not values:
        raise FormatError(f"{path}: has a header but no rows")
    table = np.array(values)
    if not np.isfinite(table).all():
        raise FormatError(f"{path}: row {int(np.argwhere(~np.isfinite(table))[0, 0]) + 1} holds NaN or infinity")
    midnights = np.cumsum(np.diff(times, prepend=times[0]) < -_DAY / 2)
    return np.array(times) + midnights * _DAY, table


def _columns(path: Path, header: Sequence[str]) -> list[int]:
    """Where each of the 61 values stands in a row."""
    places = {name.strip().lower(): i for i, name in enumerate(header)}
    missing = [name for name in HEADER if name.lower() not in places and name != "BlendshapeCount"]
    if missing:
        raise FormatError(
            f"{path}: is no Live Link Face file, its header lacks {', '.join(missing[:3])}"
            + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        )
    return [places[name.lower()] for name in HEADER[2:]]


def _rate(path: Path, times: npt.NDArray[np.float64]) -> float:
    """Frames per second from time codes: the usual rate if one is near, for codes are rounded."""
    if len(times) < 2:
        return 60.0
    step = float(np.median(np.diff(times)))
    if step <= 0:
        raise FormatError(f"{path}: its time codes do not advance", "give the rate with fps")
    intervals = np.maximum(np.round(np.diff(times) / step), 1).sum()
    fps = float(intervals / (times[-1] - times[0]))
    usual = min(_USUAL_RATES, key=lambda rate: abs(rate - fps))
    return usual if abs(usual - fps) < 5e-4 * fps else round(fps, 6)


def _evenly(values: npt.NDArray[np.float64], times: npt.NDArray[np.float64], fps: float) -> npt.NDArray[np.float64]:
    """Rows at every frame time; equal to the rows given unless the capture dropped some."""
    frames = np.round((times - times[0]) * fps).astype(np.int64)
    n_frames = int(frames[-1]) + 1
    if n_frames == len(values):
        return values
    _log.warning("%d rows are missing in the capture's time codes and were filled in", n_frames - len(values))
    every = np.arange(n_frames)
    return np.stack([np.interp(every, frames, column) for column in values.T], axis=1)


def _timecode(seconds: float) -> str:
    # Whole milli-ticks, so that a frame number is never rounded up to 60.000.
    milli = round(seconds % _DAY * _TICKS * 1000)
    total, tick = divmod(milli, _TICKS * 1000)
    return f"{total // 3600 % 24:02d}:{total // 60 % 60:02d}:{total % 60:02d}:{tick // 1000:02d}.{tick % 1000:03d}"


def _seconds(timecode: str) -> float:
    hours, minutes, seconds, ticks = timecode.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(ticks) / _TICKS


def _angles(rotation: Array) -> npt.NDArray[np.float64]:
    """``(T, 3)`` axis-angle in mien's convention to the file's yaw, pitch and roll."""
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_rotvec(rotation).as_euler("YXZ")) * (-1, 1, -1)


def _rotation(angles: npt.NDArray[np.float64]) -> Array:
    """The file's yaw, pitch and roll ``(T, 3)`` to axis-angle in mien's convention."""
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_euler("YXZ", angles * (-1, 1, -1)).as_rotvec(), np.float32)
