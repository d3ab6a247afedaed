"""The speech features that a network was trained on, by the name of their kind."""

from __future__ import annotations

from pathlib import Path

from mien.errors import InputError, needs_torch
from mien.perception import deepspeech, speech
from mien.types import Audio, SpeechFeatures

WAV2VEC = "wav2vec29"

RECOGNISERS = {
    deepspeech.KIND: "the frozen graph of DeepSpeech 0.1 (output_graph.pb)",
    WAV2VEC: "a folder with a wav2vec 2.0 CTC model (config.json, vocab.json, model.safetensors)",
}
"""Kinds whose recogniser the user brings, and what it is."""


class Listener:
    """Makes features of one kind; the recogniser is loaded once.

    Args:
        kind: ``"phones42"``, or one of :data:`RECOGNISERS`.
        recogniser: path of the recogniser of that kind.

    Raises:
        InputError: if the kind is unknown or needs a recogniser.
        MissingExtraError: if a package is not installed.
        AssetError: if the recogniser is not there.
        FormatError: if it is something else.
    """

    def __init__(self, kind: str, recogniser: str | Path | None = None) -> None:
        self.kind = kind
        if kind == speech.KIND:
            if recogniser is not None:
                raise InputError(f"{recogniser}: {kind} features need no recogniser", "leave it out")
            return
        if kind not in RECOGNISERS:
            raise InputError(f"no speech features {kind!r}", f"there are {', '.join((speech.KIND, *RECOGNISERS))}")
        if recogniser is None:
            raise InputError(f"{kind} features need a recogniser", f"give --recogniser: {RECOGNISERS[kind]}")
        with needs_torch("the recogniser"):
            if kind == deepspeech.KIND:
                from mien.perception.deepspeech_network import load_deepspeech

                self._deepspeech = load_deepspeech(recogniser)
            else:
                from mien.perception.wav2vec import Wav2Vec

                self._wav2vec = Wav2Vec(recogniser)

    def __call__(self, audio: Audio, fps: float, heard: SpeechFeatures | None = None) -> SpeechFeatures:
        """Features of a sound at the video rate.

        Args:
            audio: mono sound.
            fps: video frames per second.
            heard: phones, loudness and pitch of this sound, if they are known; they are kept at any rate.
        """
        if heard is not None and heard.fps != fps:
            heard = None
        if self.kind == speech.KIND:
            return heard or speech.analyse(audio, fps)
        if self.kind == deepspeech.KIND:
            return deepspeech.deepspeech_features(audio, fps, self._deepspeech, heard)
        from mien.perception.wav2vec import wav2vec_features

        return wav2vec_features(audio, fps, self._wav2vec, heard)
