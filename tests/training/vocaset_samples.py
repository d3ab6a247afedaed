"""A tiny VOCASET made by code, in both spellings. Only tests write pickles; mien itself never does."""

import json
import pickle

import numpy as np
import soundfile

from mien.training.datasets.vocaset import Clip, write_index

N_VERTICES = 20
RATE = 16_000


def frames_of(subject, sentence, n, fps=60.0):
    """Offsets that follow the sound: both swell and fade, faster for later sentences."""
    pace = 1 + 0.5 * sentence + 0.2 * subject
    swell = np.sin(np.pi * pace * np.arange(n) / fps) ** 2
    direction = np.random.default_rng(subject).normal(size=(N_VERTICES, 3)) * 0.003
    return (swell[:, None, None] * direction).astype(np.float32), swell


def template_of(subject):
    return np.random.default_rng(100 + subject).normal(size=(N_VERTICES, 3)).astype(np.float32) * 0.1


def sound_of(swell, fps=60.0):
    n = round(len(swell) / fps * RATE)
    loud = np.interp(np.arange(n) / RATE, np.arange(len(swell)) / fps, swell)
    carrier = np.sin(2 * np.pi * 220 * np.arange(n) / RATE) + 0.5 * np.sin(2 * np.pi * 660 * np.arange(n) / RATE)
    return (0.3 * loud * carrier).astype(np.float32)


def write_official(folder, subjects, sentences, n=24):
    """VOCASET's files, pickled by protocol 2 as Python 2 did; DeepSpeech logits are made of the swell."""
    folder.mkdir(parents=True)
    vertices, index, sounds, templates, processed = [], {}, {}, {}, {}
    for i, subject in enumerate(subjects):
        templates[subject] = template_of(i).astype(np.float64)
        for j, sentence in enumerate(sentences):
            offsets, swell = frames_of(i, j, n)
            first = sum(map(len, vertices))
            index.setdefault(subject, {})[sentence] = {frame: first + frame for frame in range(n)}
            vertices.append(template_of(i) + offsets)
            audio = (32767 * sound_of(swell)).astype(np.int16)
            sounds.setdefault(subject, {})[sentence] = {"audio": audio, "sample_rate": RATE}
            rows = np.zeros((n + 16, 29), np.float32)
            rows[8:-8] = swell[:, None] * np.linspace(-1, 1, 29)
            stacked = np.stack([rows[k : k + 16] for k in range(n)])
            processed.setdefault(subject, {})[sentence] = {"audio": stacked, "sample_rate": RATE}
    np.save(folder / "data_verts.npy", np.concatenate(vertices))
    for name, content in (("subj_seq_to_idx", index), ("raw_audio_fixed", sounds), ("templates", templates),
                          ("processed_audio_deepspeech", processed)):  # fmt: skip
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(content, protocol=2))
    return folder


def write_own(folder, subjects, n_sentences, n=24, fps=30.0):
    """What ``mien prepare voca`` writes."""
    folder.mkdir(parents=True)
    vertices, clips = [], []
    for i, subject in enumerate(subjects):
        for j in range(n_sentences):
            offsets, swell = frames_of(i, j, n, fps)
            first = sum(map(len, vertices))
            clips.append(Clip(subject, f"s{j}", np.arange(first, first + n)))
            vertices.append(template_of(i) + offsets)
            path = folder / "audio" / subject / f"s{j}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, sound_of(swell, fps), RATE, subtype="PCM_16")
    np.save(folder / "data_verts.npy", np.concatenate(vertices))
    np.savez(folder / "templates.npz", **{subject: template_of(i) for i, subject in enumerate(subjects)})
    write_index(folder, fps, "builtin", clips)
    return folder


def changed_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
