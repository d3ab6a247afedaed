"""TensorFlow's files made by code: a checkpoint (sorted table and numbers) and a frozen graph."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

KINDS = {np.dtype("float32"): 1, np.dtype("float64"): 2, np.dtype("int64"): 9}


def varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def text(field: int, value: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(value)) + value


def shape(array: np.ndarray) -> bytes:
    return b"".join(text(2, number(1, size)) for size in array.shape)


def block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Keys that share their beginning with the one before, as LevelDB writes them, and no compression."""
    out, last = b"", b""
    for key, value in entries:
        shared = next((i for i, (a, b) in enumerate(zip(key, last, strict=False)) if a != b), min(len(key), len(last)))
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    return out + struct.pack("<II", 0, 1)


def write_checkpoint(prefix: Path, variables: dict[str, np.ndarray], per_block: int = 3) -> None:
    entries, numbers = [(b"", number(1, 1))], b""
    for name in sorted(variables):
        array = variables[name]
        raw = array.tobytes()
        place = number(4, len(numbers)) if numbers else b""  # zero is left out
        entry = number(1, KINDS[array.dtype]) + text(2, shape(array)) + place + number(5, len(raw))
        entries.append((name.encode(), entry + varint(6 << 3 | 5) + b"crc!"))
        numbers += raw
    table, index = b"", []
    for start in range(0, len(entries), per_block):
        part = block(entries[start : start + per_block])
        index.append((entries[min(start + per_block, len(entries)) - 1][0], varint(len(table)) + varint(len(part))))
        table += part + b"\0crc!"
    meta = varint(len(table)) + varint(len(block([])))
    table += block([]) + b"\0crc!"
    place = varint(len(table)) + varint(len(block(index)))
    table += block(index) + b"\0crc!"
    footer = (meta + place).ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    prefix.with_name(prefix.name + ".index").write_bytes(table + footer)
    prefix.with_name(prefix.name + ".data-00000-of-00001").write_bytes(numbers)


def write_graph(path: Path, constants: dict[str, np.ndarray]) -> None:
    out = text(1, text(1, b"input_node") + text(2, b"Placeholder"))
    for name, array in constants.items():
        tensor = number(1, KINDS[array.dtype]) + text(2, shape(array)) + text(4, array.tobytes())
        attribute = text(5, text(1, b"value") + text(2, text(8, tensor)))
        kind = text(5, text(1, b"dtype") + text(2, number(6, 1)))
        out += text(1, text(1, name.encode()) + text(2, b"Const") + kind + attribute)
    path.write_bytes(out)


CELLS = 5


def deepspeech_graph(labels: int = 29) -> dict[str, np.ndarray]:
    """Weights of a small DeepSpeech 0.1 under the names of its graph."""
    rng = np.random.default_rng(1)
    sizes = {"1": (494, 12), "2": (12, 12), "3": (12, 8), "5": (2 * CELLS, 12), "6": (12, labels)}
    found = {f"h{name}": rng.normal(0, 0.3, size) for name, size in sizes.items()}
    found |= {f"b{name}": rng.normal(0, 0.3, size[1]) for name, size in sizes.items()}
    for side in ("fw", "bw"):
        cell = f"bidirectional_rnn/{side}/basic_lstm_cell"
        found[f"{cell}/kernel"] = rng.normal(0, 0.5, (8 + CELLS, 4 * CELLS))
        found[f"{cell}/bias"] = rng.normal(0, 0.5, 4 * CELLS)
    return {name: array.astype(np.float32) for name, array in found.items()}
