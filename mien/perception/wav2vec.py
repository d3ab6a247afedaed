"""A wav2vec 2.0 recogniser with letters as speech features, from a folder in Hugging Face's layout.

Paper: Baevski et al., "wav2vec 2.0: A Framework for Self-Supervised Learning of Speech Representations", NeurIPS 2020.
The library ``transformers`` runs the network; the folder (config.json, vocab.json, model.safetensors) is the user's own
and nothing is downloaded. Its letters are brought into DeepSpeech's order, but its answers are far more pointed: a VOCA
model has to be trained on them, and their kind has a name of its own so that no other takes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mien.errors import AssetError, FormatError, MissingExtraError
from mien.media.audio import resample
from mien.perception.speech import analyse, n_frames_of
from mien.types import Array, Audio, SpeechFeatures

KIND = "wav2vec29"
"""Name of the columns: log shares of space, a to z, apostrophe, blank."""

LETTERS = (*" abcdefghijklmnopqrstuvwxyz'",)
SAMPLE_RATE = 16_000

_HOP, _FIELD = 320, 400  # samples per row, and how many the first row has seen: 20 and 25 ms
_BLOCK, _CONTEXT = 30 * 50, 2 * 50  # rows worked on at a time, and rows heard before and after; memory stays flat


class Wav2Vec:
    """A recogniser and the columns that are used of it.

    Args:
        folder: config.json, vocab.json, model.safetensors, and preprocessor_config.json if the sound is to be used
            as it is instead of at unit loudness.

    Raises:
        MissingExtraError: if ``transformers`` is not installed.
        AssetError: if a file is missing.
        FormatError: if the folder holds something else than a CTC recogniser of English letters.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            from transformers import AutoModelForCTC
        except ImportError as error:
            raise MissingExtraError("this recogniser needs transformers", "pip install torch transformers") from error
        for name in ("config.json", "vocab.json", "model.safetensors"):
            if not (Path(folder) / name).is_file():
                raise AssetError(f"{folder}: {name} is missing", "give a folder with a wav2vec 2.0 CTC model")
        try:
            self._network: Any = AutoModelForCTC.from_pretrained(
                str(folder), local_files_only=True, use_safetensors=True
            ).eval()
            vocabulary = {text.lower(): int(i) for text, i in _json(folder, "vocab.json").items()}
            space = vocabulary.get("|", vocabulary.get(" "))
            blank = int(self._network.config.pad_token_id)
            self._columns = [space if letter == " " else vocabulary[letter] for letter in LETTERS] + [blank]
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise FormatError(
                f"{folder}: not a CTC recogniser of English letters ({reason})", "see docs/voca.md"
            ) from error
        if None in self._columns:
            raise FormatError(f"{folder}: its vocabulary has no sign between words", "give a CTC model of letters")
        self._normalised = bool(_json(folder, "preprocessor_config.json").get("do_normalize", True))

    def __call__(self, samples: Array) -> Array:
        """``(N,)`` at 16 kHz to log shares ``(M, 29)``, row ``i`` about ``(i * 320 + 200) / 16000`` seconds."""
        if self._normalised:
            samples = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
        padded = np.pad(samples, (0, max(0, _FIELD - len(samples)))).astype(np.float32)
        return np.concatenate(list(self._blocks(padded)))

    def _blocks(self, samples: Array) -> Iterator[Array]:
        n = (len(samples) - _FIELD) // _HOP + 1
        for start in range(0, n, _BLOCK):
            stop = min(start + _BLOCK, n)
            first, last = max(0, start - _CONTEXT), min(n, stop + _CONTEXT)
            piece = torch.from_numpy(samples[first * _HOP : (last - 1) * _HOP + _FIELD])
            with torch.inference_mode():
                logits = self._network(piece[None]).logits[0, :, self._columns]
            yield logits.log_softmax(-1)[start - first : stop - first].numpy()


def wav2vec_features(
    audio: Audio, fps: float, recogniser: Wav2Vec, speech: SpeechFeatures | None = None
) -> SpeechFeatures:
    """Features of kind ``"wav2vec29"`` at the video rate; phones, loudness and pitch as for all other features.

    Args:
        audio: mono sound.
        fps: video frames per second.
        recogniser: what listens.
        speech: phones, loudness and pitch of this sound at this rate, if they are known already.
    """
    rows = recogniser(resample(audio, SAMPLE_RATE).samples)
    given = (np.arange(len(rows)) * _HOP + _FIELD / 2) / SAMPLE_RATE
    wanted = np.arange(n_frames_of(audio, fps)) / fps
    values = np.stack([np.interp(wanted, given, column) for column in rows.T], axis=1)
    return replace(speech or analyse(audio, fps), values=values.astype(np.float32), kind=KIND)


def _json(folder: str | Path, name: str) -> dict[str, Any]:
    path = Path(folder) / name
    return dict(json.loads(path.read_text())) if path.exists() else {}
