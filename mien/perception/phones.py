"""Speech sounds with times, from PocketSphinx and the English model inside its wheel.

Two roads: the *phone loop* (any phone may follow any other, weighted by a phone language model; Lee and Hon 1989) needs
only the sound; *forced alignment* places the phones of a known text. Both work on blocks, so memory stays flat.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from mien.errors import InputError
from mien.perception.pronunciation import pronounce
from mien.progress import Progress, track
from mien.types import Array, Phone

if TYPE_CHECKING:
    import pocketsphinx

logger = logging.getLogger(__name__)

UNITS: tuple[str, ...] = (
    "+NSN+", "+SPN+", "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH",
    "IY", "JH", "K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "SIL", "T", "TH", "UH", "UW", "V", "W", "Y",
    "Z", "ZH",
)  # fmt: skip
"""The 42 units of the model in its own order: noise, spoken noise, 39 ARPAbet phones, and silence."""

SILENT_UNITS = frozenset({"SIL", "+NSN+", "+SPN+"})

SAMPLE_RATE = 16_000
_FRAME = 0.01  # seconds
_BLOCK = 30.0  # seconds recognised at a time
_CONTEXT = 1.0  # seconds heard before and after a block, so that no phone is cut
_ALIGN_AT_ONCE = 20.0  # seconds; the aligner's memory grows with the square of the length


def recognise(samples: Array, progress: Progress | None = None) -> tuple[Phone, ...]:
    """The phone loop over ``samples`` (16 kHz), gapless from 0 to the end."""
    duration = len(samples) / SAMPLE_RATE
    starts = np.arange(0, max(duration - _CONTEXT, 1e-9), _BLOCK)
    found: list[Phone] = []
    for start in track(starts.tolist(), progress, "phones", len(starts)):
        stop = duration if start == starts[-1] else start + _BLOCK
        first = max(0.0, start - _CONTEXT)
        for phone in _phone_loop(_cut(samples, first, stop + _CONTEXT), first):
            if start <= (phone.start + phone.end) / 2 < stop:
                found.append(phone)
    return _gapless(found, duration)


def align(samples: Array, text: str, progress: Progress | None = None) -> tuple[Phone, ...]:
    """The phones of ``text`` at their times in ``samples`` (16 kHz), gapless from 0 to the end.

    Raises:
        InputError: if the text holds no words, a word cannot be pronounced, or the sound does not follow the text.
    """
    words = words_of(text)
    decoder = _decoder()
    _teach(decoder, words)
    duration = len(samples) / SAMPLE_RATE
    found: list[Phone] = []
    stretches = _stretches(decoder, samples, words)
    for first, last, part in track(stretches, progress, "align", len(stretches)):
        found += _align_part(decoder, _cut(samples, first, last), part, first)
    return _gapless(found, duration)


def words_of(text: str) -> list[str]:
    """The words of a text in lower case without punctuation; hyphens and dashes part words.

    Raises:
        InputError: if there are none, or one holds digits or other signs that have no single reading.
    """
    words = [w.strip("'") for w in re.split(r"[^\w']+", text.lower().replace("’", "'").replace("_", " "))]
    words = [w for w in words if w]
    if not words:
        raise InputError("the text holds no words", "give what is said, or leave the text out")
    for word in words:
        if re.search(r"[^a-z']", word):
            raise InputError(
                f"the text holds {word!r}, which cannot be read aloud in one way as English",
                "write it as English words in plain letters, or leave the text out",
            )
    return words


def posteriors(phones: tuple[Phone, ...], n: int) -> Array:
    """``(n, 42)`` shares of :data:`UNITS` in each 10 ms; every row sums to 1."""
    values = np.zeros((n, len(UNITS)), np.float32)
    column = {name: i for i, name in enumerate(UNITS)}
    for phone in phones:
        start, stop = round(phone.start / _FRAME), round(phone.end / _FRAME)
        values[start:stop, column[phone.symbol]] = 1
    values[values.sum(axis=1) == 0, column["SIL"]] = 1
    return np.asarray(values / values.sum(axis=1, keepdims=True), np.float32)


def _decoder(**options: object) -> pocketsphinx.Decoder:
    from pocketsphinx import Decoder

    # The mean over the whole piece ("batch") makes a result independent of what was decoded before. The best path
    # through the lattice may give a word fewer frames than it has states, on which alignment then fails.
    return Decoder(samprate=SAMPLE_RATE, lm=None, cmn="batch", bestpath=False, loglevel="FATAL", **options)


def _phone_loop(pcm: bytes, offset: float) -> Iterator[Phone]:
    from pocketsphinx import get_model_path

    # Narrower beams and fewer densities than usual: a third less time, as many frames right on read speech.
    decoder = _decoder(
        dict=None, allphone=get_model_path() + "/en-us/en-us-phone.lm.bin", lw=2.0, beam=1e-13, pbeam=1e-13, topn=2
    )
    _decode(decoder, pcm)
    for segment in decoder.seg() or ():
        symbol = segment.word if segment.word in UNITS else "+NSN+"
        yield Phone(symbol, offset + segment.start_frame * _FRAME, offset + (segment.end_frame + 1) * _FRAME)


def _decode(decoder: pocketsphinx.Decoder, pcm: bytes) -> None:
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()


def _cut(samples: Array, start: float, stop: float) -> bytes:
    piece = samples[round(start * SAMPLE_RATE) : round(stop * SAMPLE_RATE)]
    return np.asarray(np.rint(piece * 32767), np.int16).tobytes()


def _teach(decoder: pocketsphinx.Decoder, words: list[str]) -> None:
    """Add what the dictionary lacks."""
    for word in dict.fromkeys(words):
        if decoder.lookup_word(word) is None:
            phones = pronounce(word, decoder.lookup_word)
            if phones is None:
                raise InputError(f"the text holds {word!r}, which cannot be pronounced", "spell it as it sounds")
            logger.info("%r is in no dictionary; taken to sound like %s", word, phones)
            decoder.add_word(word, phones, True)


def _stretches(decoder: pocketsphinx.Decoder, samples: Array, words: list[str]) -> list[tuple[float, float, list[str]]]:
    """Cut sound and text into matching stretches of about :data:`_ALIGN_AT_ONCE` seconds, in pauses where possible."""
    duration = len(samples) / SAMPLE_RATE
    if duration <= _ALIGN_AT_ONCE:
        return [(0.0, duration, words)]
    decoder.set_align_text(" ".join(words))
    _decode(decoder, _cut(samples, 0, duration))
    timed = [(s.word, s.start_frame * _FRAME, (s.end_frame + 1) * _FRAME) for s in _segments(decoder)]
    stretches: list[tuple[float, float, list[str]]] = []
    part: list[str] = []
    first = 0.0
    for name, start, end in timed:
        is_word = not name.startswith(("<", "[", "+"))
        pause = not is_word and end - start > 0.15
        middle = (start + end) / 2
        if part and ((pause and middle - first > _ALIGN_AT_ONCE / 2) or (is_word and end - first > _ALIGN_AT_ONCE)):
            cut = middle if pause else start
            stretches.append((first, cut, part))
            first, part = cut, []
        if is_word:
            part.append(re.sub(r"\(\d+\)$", "", name))
    if part:
        stretches.append((first, duration, part))
    return stretches


def _align_part(decoder: pocketsphinx.Decoder, pcm: bytes, words: list[str], offset: float) -> Iterator[Phone]:
    decoder.set_align_text(" ".join(words))
    _decode(decoder, pcm)
    _segments(decoder)
    try:
        decoder.set_alignment()
        _decode(decoder, pcm)
        alignment = decoder.get_alignment()
    except RuntimeError as error:
        raise _no_match() from error
    if alignment is None:
        raise _no_match()
    for word in alignment:
        for phone in word:
            symbol = phone.name if phone.name in UNITS else "+NSN+"
            start = offset + phone.start * _FRAME
            yield Phone(symbol, start, start + phone.duration * _FRAME)


def _segments(decoder: pocketsphinx.Decoder) -> list[pocketsphinx.Segment]:
    """The words just decoded; the aligner must have come to the end of its text."""
    hypothesis = decoder.hyp()
    segments = list(decoder.seg() or ()) if hypothesis is not None else []
    if not segments:
        raise _no_match()
    return segments


def _no_match() -> InputError:
    return InputError(
        "the sound does not follow the text", "check that the text is what is said, or leave it out to recognise sounds"
    )


def _gapless(phones: list[Phone], duration: float) -> tuple[Phone, ...]:
    """Phones in order, each beginning where the last ended, with silence between; what has no length is dropped."""
    result: list[Phone] = []
    at = 0.0
    for phone in phones:
        start, end = max(phone.start, at), min(phone.end, duration)
        if end - start < _FRAME / 2:
            continue
        if start - at > 1e-6:
            result.append(Phone("SIL", at, start))
        result.append(Phone(phone.symbol, start, end))
        at = end
    if duration - at > 1e-6:
        result.append(Phone("SIL", at, duration))
    return merged(result)


def merged(phones: Iterable[Phone]) -> tuple[Phone, ...]:
    """Neighbouring silences joined into one."""
    result: list[Phone] = []
    for phone in phones:
        if result and phone.symbol == result[-1].symbol == "SIL":
            result[-1] = Phone("SIL", result[-1].start, phone.end)
        else:
            result.append(phone)
    return tuple(result)
