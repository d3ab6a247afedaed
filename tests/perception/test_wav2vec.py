"""A wav2vec 2.0 recogniser: what is refused without it, and its letters where ``transformers`` is installed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from mien.errors import AssetError, FormatError, MissingExtraError
from mien.perception.wav2vec import LETTERS, Wav2Vec, wav2vec_features
from mien.types import Audio

installed = importlib.util.find_spec("transformers") is not None


@pytest.mark.skipif(installed, reason="transformers is installed")
def test_without_the_library(tmp_path: Path) -> None:
    with pytest.raises(MissingExtraError, match=r"needs transformers; pip install torch transformers"):
        Wav2Vec(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = transformers.Wav2Vec2Config(
        vocab_size=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        conv_dim=[8] * 7, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2, pad_token_id=0,
    )  # fmt: skip
    transformers.Wav2Vec2ForCTC(config).save_pretrained(tmp_path)
    signs = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ"]
    (tmp_path / "vocab.json").write_text(json.dumps({sign: i for i, sign in enumerate(signs)}))
    return tmp_path


def test_letters_in_deepspeechs_order(folder: Path) -> None:
    sound = Audio(np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32), 16000)
    recogniser = Wav2Vec(folder)
    rows = recogniser(sound.samples)
    assert rows.shape == (49, len(LETTERS) + 1)
    np.testing.assert_allclose(np.exp(rows).sum(1), 1, atol=1e-5)
    features = wav2vec_features(sound, 60, recogniser)
    assert (features.values.shape, features.kind) == ((60, 29), "wav2vec29")
    # Row i is about 0.0125 + 0.02 i seconds: frame 3 at 0.05 s lies 7/8 of the way from row 1 to row 2.
    np.testing.assert_allclose(features.values[3], rows[1] / 8 + rows[2] * 7 / 8, atol=1e-5)


def test_other_folders_are_refused(folder: Path) -> None:
    (folder / "vocab.json").write_text(json.dumps({"<pad>": 0, "|": 1, "A": 2}))
    with pytest.raises(FormatError, match="not a CTC recogniser of English letters"):
        Wav2Vec(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(AssetError, match=r"model.safetensors is missing"):
        Wav2Vec(folder)
