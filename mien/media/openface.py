"""OpenFace CSV: action units and head pose, as OpenFace 2 writes them and many programs read them.

Convention of the file (checked against a real one and its video):
    names may have a blank in front; columns are found by name;
    ``frame`` counts from 1, ``timestamp`` is in seconds, ``confidence`` in [0, 1], ``success`` 0 or 1;
    ``AU01_r`` is an intensity from 0 to 5, ``AU01_c`` presence; the 17 units of :data:`UNITS`, AU28 by presence only;
    ``pose_Rx, pose_Ry, pose_Rz`` are radians in a camera space with y down and z away from the camera, applied as
    ``Rx Ry Rz``, so turning and tilting have the opposite sign of mien's.
    ``pose_T*``, gaze and landmarks are not written: without the camera's focal length the distance is not known.
mien's names have no leading zero: ``AU1`` is ``AU01`` there.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.errors import FormatError, InputError
from mien.types import ActionUnits, Array

ENDING = ".openface.csv"
"""What a file's name ends in when mien is to write this format rather than Live Link Face's."""

UNITS: tuple[str, ...] = ("AU1", "AU2", "AU4", "AU5", "AU6", "AU7", "AU9", "AU10", "AU12", "AU14", "AU15", "AU17",
                          "AU20", "AU23", "AU25", "AU26", "AU45")  # fmt: skip
"""The units with an intensity, in OpenFace's order."""

PRESENT = 0.2
"""Intensity in [0, 1] from which a unit counts as present when mien writes; OpenFace has a classifier of its own."""

_STRENGTH = 5.0
_POSE = ("pose_Rx", "pose_Ry", "pose_Rz")
_FLIP = (1, -1, -1)  # what turning about x by half a turn does to a rotation vector
_PRESENCE = (*UNITS[:-1], "AU28", UNITS[-1])


@dataclass(frozen=True, eq=False)
class OpenFaceTrack:
    """What an OpenFace CSV says about one face.

    Attributes:
        units: intensities in [0, 1] under mien's names.
        head_pose: ``(T, 3)`` rad, axis-angle in mien's convention.
        confidence: ``(T,)`` in [0, 1].
        success: ``(T,)`` False where the face was not tracked.
    """

    units: ActionUnits
    head_pose: Array
    confidence: Array
    success: npt.NDArray[np.bool_]


def is_openface(path: str | Path) -> bool:
    """Whether a name asks for this format."""
    return Path(path).name.lower().endswith(ENDING)


def write_openface(path: str | Path, units: ActionUnits, head_pose: Array, found: npt.NDArray[np.bool_]) -> None:
    """Write an OpenFace CSV.

    Args:
        path: the file to write.
        units: intensities; units OpenFace has no column for are left out, those it has and ``units`` lacks are 0.
        head_pose: ``(T, 3)`` rad, axis-angle in mien's convention.
        found: ``(T,)`` where the face was seen.
    """
    column = {name: units.values[:, i] for i, name in enumerate(units.names)}
    absent = np.zeros(len(units), np.float32)
    strengths = np.stack([column.get(name, absent) for name in UNITS], 1) * _STRENGTH
    presence = np.stack([column.get(name, absent) >= PRESENT for name in _PRESENCE], 1)
    angles = _angles(head_pose)
    header = ["frame", "face_id", "timestamp", "confidence", "success", *_POSE]
    header += [f"{_official(name)}_r" for name in UNITS] + [f"{_official(name)}_c" for name in _PRESENCE]
    with Path(path).open("w", newline="", encoding="ascii") as file:
        file.write(", ".join(header) + "\n")
        for i, seen in enumerate(found):
            row = [f"{i + 1}", "0", f"{i / units.fps:.3f}", f"{int(seen)}.000", f"{int(seen)}"]
            row += [f"{angle + 0.0:.3f}" for angle in angles[i]] + [f"{value:.2f}" for value in strengths[i]]
            file.write(", ".join([*row, *(f"{int(present)}.00" for present in presence[i])]) + "\n")


def read_openface(path: str | Path, *, fps: float | None = None) -> OpenFaceTrack:
    """Read an OpenFace CSV: the first face, with whatever of the 17 units it has.

    Args:
        path: the file.
        fps: frames per second; by default from the time stamps.

    Raises:
        InputError: if the file cannot be read.
        FormatError: if it is no OpenFace file or is damaged.
    """
    path = Path(path)
    columns, rows = _read_rows(path)
    if "face_id" in columns and len(rows):
        rows = rows[rows[:, columns["face_id"]] == rows[0, columns["face_id"]]]
    names = [name for name in UNITS if f"{_official(name)}_r" in columns]
    missing = [name for name in ("timestamp", *_POSE) if name not in columns]
    if not names or missing:
        lacking = missing[0] if missing else "any AU.._r"
        raise FormatError(f"{path}: is no OpenFace file, its header lacks {lacking}", "write it with -pose and -aus")
    if not len(rows):
        raise FormatError(f"{path}: has a header but no rows")
    strengths = rows[:, [columns[f"{_official(name)}_r"] for name in names]] / _STRENGTH
    ones = np.ones(len(rows))
    success = rows[:, columns["success"]] > 0 if "success" in columns else ones > 0
    return OpenFaceTrack(
        units=ActionUnits(np.clip(strengths, 0, 1), tuple(names), fps or _rate(path, rows[:, columns["timestamp"]])),
        head_pose=_rotation(rows[:, [columns[name] for name in _POSE]]),
        confidence=np.asarray(rows[:, columns["confidence"]] if "confidence" in columns else ones, np.float32),
        success=success,
    )


def _official(name: str) -> str:
    return f"AU{int(name[2:]):02d}"


def _read_rows(path: Path) -> tuple[dict[str, int], npt.NDArray[np.float64]]:
    """Column numbers by name, and all values."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, skipinitialspace=True)
            columns = {name.strip(): i for i, name in enumerate(next(reader, []))}
            rows = []
            for row in reader:
                if not row:
                    continue
                try:
                    values = [float(value) for value in row]
                except ValueError as error:
                    raise FormatError(f"{path}: line {reader.line_num} is damaged ({error})") from error
                if len(values) != len(columns) or not np.isfinite(values).all():
                    raise FormatError(f"{path}: line {reader.line_num} is damaged (values are missing or not finite)")
                rows.append(values)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path}: is not a text file with comma-separated values ({error})") from error
    return columns, np.array(rows).reshape(len(rows), len(columns))


def _rate(path: Path, times: npt.NDArray[np.float64]) -> float:
    """Frames per second; time stamps have three decimals, so the whole length counts."""
    if len(times) < 2:
        return 25.0
    if times[-1] <= times[0]:
        raise FormatError(f"{path}: its time stamps do not advance", "give the rate with fps")
    return round(float((len(times) - 1) / (times[-1] - times[0])), 2)


def _angles(head_pose: Array) -> npt.NDArray[np.float64]:
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_rotvec(np.asarray(head_pose) * _FLIP).as_euler("XYZ"))


def _rotation(angles: npt.NDArray[np.float64]) -> Array:
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_euler("XYZ", angles).as_rotvec() * _FLIP, np.float32)
