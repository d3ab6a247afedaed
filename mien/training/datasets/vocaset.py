"""VOCASET's layout: registered meshes of people who speak, one row per frame, and their sound.

Two spellings of one layout are read. The official one (Cudeiro et al. 2019, https://voca.is.tue.mpg.de):

    data_verts.npy                    (frames, V, 3) metres at zero pose, memory-mapped
    templates.pkl                     subject -> (V, 3)
    subj_seq_to_idx.pkl               subject -> sentence -> {frame -> row of data_verts}
    raw_audio_fixed.pkl               subject -> sentence -> {"audio": int16, "sample_rate"}
    init_expression_basis.npy         (3 V, n), optional
    processed_audio_deepspeech.pkl    as raw_audio, "audio" = (frames, 16, 29), optional

and mien's own, which ``mien prepare voca`` writes and which holds no pickles:

    data_verts.npy                    the same
    templates.npz                     subject -> (V, 3)
    index.json                        rate, rig, and the rows of every clip
    audio/SUBJECT/SENTENCE.wav        16 bit

Pickles are read as data only (:mod:`mien.pickles`). Sound and picture of a sentence may differ by a frame; the shorter
one counts.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.assets import load_npz
from mien.errors import FormatError, InputError
from mien.pickles import read_pickle
from mien.types import Array, Audio

log = logging.getLogger(__name__)

INDEX_FORMAT = 1
"""Version of ``index.json``."""

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Part of a data set.

    Attributes:
        subjects: their names, in the order of the one-hot for training.
        sentences: the names of what they say; ``None`` for all there are.
    """

    subjects: tuple[str, ...]
    sentences: tuple[str, ...] | None = None


def _sentences(first: int, last: int) -> tuple[str, ...]:
    return tuple(f"sentence{i:02d}" for i in range(first, last + 1))


def official_splits() -> dict[str, Split]:
    """The splits of the paper by name: ``"train"``, ``"validation"``, ``"test"``."""
    from mien.motion.voca import OFFICIAL_SPEAKERS  # brings PyTorch, which making data needs not

    return {
        "train": Split(OFFICIAL_SPEAKERS, _sentences(1, 40)),
        "validation": Split(("FaceTalk_170811_03275_TA", "FaceTalk_170908_03277_TA"), _sentences(21, 40)),
        "test": Split(("FaceTalk_170809_00138_TA", "FaceTalk_170731_00024_TA"), _sentences(21, 40)),
    }


@dataclass(frozen=True, eq=False)
class Clip:
    """One sentence of one subject: the rows of ``data_verts`` in the order of time."""

    subject: str
    sentence: str
    rows: Rows


@dataclass(frozen=True, eq=False)
class Vocaset:
    """An opened data set.

    Attributes:
        folder: where it is.
        fps: frames per second.
        rig: name of the rig the vertices belong to.
        vertices: ``(N, V, 3)`` metres at zero pose, memory-mapped.
        templates: the ``(V, 3)`` neutral face of every subject.
        clips: everything there is, by subject and sentence.
        official: whether it is VOCASET itself.
    """

    folder: Path
    fps: float
    rig: str
    vertices: Array
    templates: Mapping[str, Array]
    clips: tuple[Clip, ...]
    official: bool
    _sounds: dict[str, Any] = field(default_factory=dict, repr=False)

    def select(self, split: Split) -> tuple[Clip, ...]:
        """The clips of a split in its order; what is missing is reported and left out.

        Raises:
            InputError: if none is there.
        """
        there = {(clip.subject, clip.sentence): clip for clip in self.clips}
        chosen = []
        for subject in split.subjects:
            sentences = split.sentences or [clip.sentence for clip in self.clips if clip.subject == subject]
            missing = [sentence for sentence in sentences if (subject, sentence) not in there]
            if missing:
                some = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
                log.warning("%s: %s lacks %s; left out", self.folder, subject, some)
            chosen += [there[subject, sentence] for sentence in sentences if sentence not in missing]
        if not chosen:
            raise InputError(
                f"{self.folder}: no clip of {', '.join(split.subjects)}", "check the names of the subjects"
            )
        return tuple(chosen)

    def sound(self, clip: Clip) -> Audio:
        """What is heard in a clip.

        Raises:
            FormatError: if the sound is missing or damaged.
        """
        if not self.official:
            from mien.media.audio import read_audio

            return read_audio(self.folder / "audio" / clip.subject / f"{clip.sentence}.wav")
        entry = self._pickled("raw_audio_fixed.pkl", clip)
        samples = np.asarray(entry["audio"])
        if samples.dtype != np.int16 or samples.ndim not in (1, 2) or not samples.size:
            raise self._damaged(
                "raw_audio_fixed.pkl", f"the sound of {clip.subject} {clip.sentence} is {samples.dtype}"
            )
        mono = samples if samples.ndim == 1 else samples[:, 0]
        return Audio(np.asarray(mono / 32768, np.float32), int(entry["sample_rate"]))

    def processed_features(self, clip: Clip) -> Array:
        """The ``(T, 29)`` DeepSpeech logits that come with VOCASET.

        Raises:
            InputError: if they are not there.
            FormatError: if they are damaged.
        """
        name = "processed_audio_deepspeech.pkl"
        if not (self.folder / name).exists():
            raise InputError(
                f"{self.folder}: {name} is missing, and mien contains no DeepSpeech",
                "get it with VOCASET, give --recogniser, or train on phones42",
            )
        stacked = np.asarray(self._pickled(name, clip)["audio"], np.float32)
        if stacked.ndim != 3 or stacked.shape[1:] != (16, 29):
            raise self._damaged(name, f"{clip.subject} {clip.sentence} is {stacked.shape}, not (T, 16, 29)")
        return np.asarray(stacked[:, 8], np.float32)  # window i holds rows i - 8 to i + 7

    def initial_basis(self) -> Array | None:
        """The ``(3 V, n)`` start of the last layer that comes with VOCASET, or ``None``."""
        path = self.folder / "init_expression_basis.npy"
        if not path.exists():
            return None
        basis = _plain_array(path)
        if basis.ndim != 2 or len(basis) != 3 * self.vertices.shape[1]:
            raise self._damaged(path.name, f"shape {basis.shape}, expected ({3 * self.vertices.shape[1]}, n)")
        return np.asarray(basis, np.float32)

    def _pickled(self, name: str, clip: Clip) -> Mapping[str, Any]:
        if name not in self._sounds:
            self._sounds[name] = read_pickle(self.folder / name)
        try:
            entry = self._sounds[name][clip.subject][clip.sentence]
            if not {"audio", "sample_rate"} <= set(entry):
                raise KeyError("audio")
        except (KeyError, TypeError):
            raise self._damaged(name, f"nothing for {clip.subject} {clip.sentence}") from None
        return entry  # type: ignore[no-any-return]

    def _damaged(self, name: str, why: str) -> FormatError:
        return FormatError(f"{self.folder / name}: damaged ({why})", "get the data again")


def open_vocaset(folder: str | Path) -> Vocaset:
    """Open a data set in either spelling and check that its parts fit together.

    Raises:
        InputError: if there is no such folder.
        FormatError: if files are missing, damaged or contradict each other.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder", "give a folder with VOCASET, or what `mien prepare voca` made")
    own = (folder / "index.json").exists()
    needed = ["templates.npz"] if own else ["templates.pkl", "subj_seq_to_idx.pkl", "raw_audio_fixed.pkl"]
    missing = [name for name in ("data_verts.npy", *needed) if not (folder / name).exists()]
    if missing:
        raise FormatError(f"{folder}: not a VOCASET folder, {', '.join(missing)} missing", "get the files again")
    vertices = _plain_array(folder / "data_verts.npy")
    if vertices.ndim != 3 or vertices.shape[2] != 3 or vertices.dtype.kind != "f":
        raise FormatError(
            f"{folder / 'data_verts.npy'}: holds {vertices.dtype} {vertices.shape}, expected float (N, V, 3)",
            "get the file again",
        )
    if own:
        header, clips = _own_index(folder)
        templates: Mapping[Any, Any] = load_npz(folder / "templates.npz")[1]
    else:
        header, clips = {"fps": 60.0, "rig": "flame"}, _official_index(folder)
        templates = _mapping(read_pickle(folder / "templates.pkl"), folder / "templates.pkl")
    _check_rows(folder, clips, len(vertices))
    shaped = {str(name): np.asarray(template, np.float32) for name, template in templates.items()}
    for subject in {clip.subject for clip in clips}:
        got = shaped[subject].shape if subject in shaped else None
        if got != vertices.shape[1:]:
            raise FormatError(
                f"{folder}: the template of {subject} is {got or 'missing'}, the frames are {vertices.shape[1:]}",
                "get the templates that belong to these frames",
            )
    return Vocaset(folder, float(header["fps"]), str(header["rig"]), vertices, shaped, clips, not own)


def write_index(folder: Path, fps: float, rig: str, clips: Sequence[Clip]) -> None:
    """Write ``index.json`` for clips whose rows are consecutive."""
    entries = [
        {"subject": c.subject, "sentence": c.sentence, "first": int(c.rows[0]), "n_frames": len(c.rows)} for c in clips
    ]
    content = {"format": "mien.Vocaset", "version": INDEX_FORMAT, "fps": fps, "rig": rig, "clips": entries}
    (folder / "index.json").write_text(json.dumps(content, indent=1))


def _own_index(folder: Path) -> tuple[Mapping[str, Any], tuple[Clip, ...]]:
    path = folder / "index.json"
    try:
        content = json.loads(path.read_text())
        if content["format"] != "mien.Vocaset" or content["version"] > INDEX_FORMAT:
            raise ValueError(f"format {content['format']} {content['version']}")
        clips = tuple(
            Clip(e["subject"], e["sentence"], np.arange(e["first"], e["first"] + e["n_frames"]))
            for e in content["clips"]
        )
        if not 0 < float(content["fps"]) <= 1000 or not isinstance(content["rig"], str):
            raise ValueError("a rate or rig that makes no sense")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(
            f"{path}: not an index of mien, or damaged ({error})", "run `mien prepare voca` again"
        ) from error
    return content, clips


def _official_index(folder: Path) -> tuple[Clip, ...]:
    path = folder / "subj_seq_to_idx.pkl"
    try:
        return tuple(
            Clip(str(subject), str(sentence), np.array([rows[frame] for frame in sorted(rows)], np.int64))
            for subject, sentences in sorted(_mapping(read_pickle(path), path).items())
            for sentence, rows in sorted(sentences.items())
        )
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise FormatError(f"{path}: not an index of VOCASET, or damaged ({error})", "get the data again") from error


def _mapping(content: Any, path: Path) -> Mapping[Any, Any]:
    if not isinstance(content, dict):
        raise FormatError(f"{path}: holds no table of subjects", "get the data again")
    return content


def _check_rows(folder: Path, clips: Iterable[Clip], n_rows: int) -> None:
    for clip in clips:
        if not len(clip.rows) or clip.rows.min() < 0 or clip.rows.max() >= n_rows:
            raise FormatError(
                f"{folder}: {clip.subject} {clip.sentence} asks for rows that data_verts.npy ({n_rows} rows) has not",
                "get the index that belongs to these frames",
            )


def _plain_array(path: Path) -> npt.NDArray[Any]:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    except (OSError, ValueError, EOFError) as error:
        raise FormatError(f"{path}: not a plain array, or cut off ({error})", "get the file again") from error


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows ``B * n``: ``n`` consecutive frames side by side.

    Attributes:
        features: ``(B * n, W, D)``.
        speaker: ``(B * n,)`` number in the one-hot, -1 for nobody in it.
        offsets: ``(B * n, V, 3)`` metres, the frame minus the subject's template.
    """

    features: Array
    speaker: Rows
    offsets: Array


class Frames:
    """All frames of some clips with what is heard around them.

    Args:
        dataset: where the vertices are; they stay on disk until a batch wants them.
        clips: in any order.
        features: ``(T, D)`` per clip at the data set's rate; the shorter of sound and picture counts.
        speakers: names in the order of the one-hot.
        window: rows of features per frame.
    """

    def __init__(
        self, dataset: Vocaset, clips: Sequence[Clip], features: Sequence[Array], speakers: Sequence[str], window: int
    ) -> None:
        lengths = [min(len(clip.rows), len(values)) for clip, values in zip(clips, features, strict=True)]
        half = window // 2
        padded = [np.pad(values[:n], ((half, half), (0, 0))) for n, values in zip(lengths, features, strict=True)]
        starts = np.cumsum([0, *(len(values) for values in padded)])
        self.subjects = tuple(clip.subject for clip in clips)
        self._dataset, self._window = dataset, window
        self._features = np.concatenate(padded)
        self._rows = np.concatenate([clip.rows[:n] for clip, n in zip(clips, lengths, strict=True)])
        self._window_start = np.concatenate([start + np.arange(n) for start, n in zip(starts, lengths, strict=False)])
        self._frame = np.concatenate([np.arange(n) for n in lengths])
        self._clip = np.repeat(np.arange(len(clips)), lengths)
        known = {name: number for number, name in enumerate(speakers)}
        self._speaker = np.array([known.get(clip.subject, -1) for clip in clips])
        self._templates = np.stack([dataset.templates[clip.subject] for clip in clips])

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, indices: npt.NDArray[np.integer], n_consecutive: int) -> Batch:
        """Each index with the frames just before it; before a clip's first frame, that frame again."""
        at = indices[:, None] - np.arange(n_consecutive - 1, -1, -1)  # (B, n), oldest first
        first = indices - self._frame[indices]
        at = np.maximum(at, first[:, None]).ravel()
        view = self._window_start[at][:, None] + np.arange(self._window)
        clip = self._clip[at]
        vertices = np.asarray(self._dataset.vertices[self._rows[at]], np.float32)
        return Batch(self._features[view], self._speaker[clip], vertices - self._templates[clip])

    def every(self, size: int) -> Iterable[Rows]:
        """All indices in order, ``size`` at a time."""
        return (np.arange(start, min(start + size, len(self))) for start in range(0, len(self), size))
