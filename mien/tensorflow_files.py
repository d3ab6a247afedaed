"""TensorFlow's files read without TensorFlow: the variables of a checkpoint, the constants of a frozen graph.

A checkpoint ``NAME`` is a pair: ``NAME.index``, a sorted table (LevelDB's format) from a variable's name to where it
lies, and ``NAME.data-00000-of-00001``, the numbers. A frozen graph (``.pb``) is one protocol buffer whose nodes of kind
``Const`` hold the weights. Only float32 and float64 are read; what else a file holds (counters, text) is passed over.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mien.errors import AssetError, FormatError
from mien.types import Array

_TABLE_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_DTYPES = {1: "<f4", 2: "<f8"}  # numbers of TensorFlow's DataType

Message = Iterator[tuple[int, int | memoryview]]


def read_checkpoint(path: str | Path) -> dict[str, Array]:
    """The variables of a checkpoint by name, as float32.

    Args:
        path: of the pair without ending, or of its ``.index`` file.

    Raises:
        AssetError: if a file of the pair is missing.
        FormatError: if it is damaged or something else.
    """
    prefix = Path(path).with_suffix("") if Path(path).suffix == ".index" else Path(path)
    index, data = (prefix.with_name(prefix.name + end) for end in (".index", ".data-00000-of-00001"))
    for file in (index, data):
        if not file.is_file():
            raise AssetError(f"{file}: no such file", "a TensorFlow checkpoint is a pair, .index and .data")
    content = data.read_bytes()
    variables = {}
    try:
        for name, entry in _table(index.read_bytes()):
            if name:  # the empty name is the header
                kind, shape, offset, size = _bundle_entry(entry)
                if kind in _DTYPES:
                    variables[name.decode()] = _array(memoryview(content)[offset : offset + size], kind, shape)
    except (ValueError, IndexError, struct.error) as error:
        raise FormatError(f"{index}: not a TensorFlow checkpoint, or damaged ({error})", "get it again") from error
    return variables


def read_graph_constants(path: str | Path) -> dict[str, Array]:
    """The constants of a frozen graph by the names of their nodes, as float32.

    Raises:
        AssetError: if there is no such file.
        FormatError: if it is damaged or something else.
    """
    if not Path(path).is_file():
        raise AssetError(f"{path}: no such file", "check the path")
    constants = {}
    try:
        for number, node in _fields(_mapped(Path(path))):
            if number == 1 and isinstance(node, memoryview):
                name, kind, tensor = _node(node)
                array = _tensor(tensor) if kind == "Const" and tensor is not None else None
                if array is not None:
                    constants[name] = array
    except (ValueError, IndexError, struct.error) as error:
        raise FormatError(f"{path}: not a frozen TensorFlow graph, or damaged ({error})", "get it again") from error
    if not constants:
        raise FormatError(f"{path}: a graph without weights", "give the frozen graph (output_graph.pb)")
    return constants


def _mapped(path: Path) -> memoryview:
    """A file as bytes that are read when they are looked at; graphs are half a gigabyte."""
    if not path.stat().st_size:
        return memoryview(b"")
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _array(raw: memoryview, kind: int, shape: tuple[int, ...]) -> Array:
    values = np.frombuffer(raw, _DTYPES[kind])
    if values.size != int(np.prod(shape, dtype=np.int64)):
        raise ValueError(f"{values.size} numbers for an array of {shape}")
    return values.reshape(shape).astype(np.float32)


def _table(content: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Keys and values of a sorted table: its footer names a block of blocks."""
    footer = content[-_FOOTER:]
    if len(footer) < _FOOTER or struct.unpack("<Q", footer[-8:])[0] != _TABLE_MAGIC:
        raise ValueError("no table")
    at = 0
    handle = []
    for _ in range(4):  # offset and size of the blocks "meta" and "index"
        value, at = _varint(footer, at)
        handle.append(value)
    for _, place in _block(content, handle[2], handle[3]):
        offset, after = _varint(place, 0)
        size, _ = _varint(place, after)
        yield from _block(content, offset, size)


def _block(content: bytes, offset: int, size: int) -> Iterator[tuple[bytes, memoryview]]:
    """Entries of one block; each key repeats the beginning of the one before it by its length alone."""
    if content[offset + size] != 0:
        raise ValueError("a compressed table")
    view = memoryview(content)[offset : offset + size]
    restarts = struct.unpack("<I", view[-4:])[0]
    end = len(view) - 4 * (restarts + 1)
    at, key = 0, b""
    while at < end:
        shared, at = _varint(view, at)
        own, at = _varint(view, at)
        length, at = _varint(view, at)
        key = key[:shared] + bytes(view[at : at + own])
        at += own
        yield key, view[at : at + length]
        at += length


def _bundle_entry(entry: memoryview) -> tuple[int, tuple[int, ...], int, int]:
    """Kind, shape, offset and bytes of a variable; numbers that are zero are left out in the file."""
    values = dict(_fields(entry))
    kind, offset, size = (_number(values.get(field)) for field in (1, 4, 5))
    return kind, _shape(values.get(2)), offset, size


def _node(node: memoryview) -> tuple[str, str, memoryview | None]:
    """Name, kind and the attribute ``value`` of a node of a graph."""
    name = kind = ""
    tensor = None
    for number, value in _fields(node):
        if isinstance(value, memoryview):
            if number == 1:
                name = bytes(value).decode()
            elif number == 2:
                kind = bytes(value).decode()
            elif number == 5:
                pair = dict(_fields(value))
                key, attribute = _part(pair.get(1)), _part(pair.get(2))
                if key is not None and bytes(key) == b"value" and attribute is not None:
                    tensor = _part(dict(_fields(attribute)).get(8))
    return name, kind, tensor


def _tensor(tensor: memoryview) -> Array | None:
    """A constant; ``None`` if it is of another kind or has no numbers."""
    values = dict(_fields(tensor))
    kind, shape = _number(values.get(1)), _shape(values.get(2))
    raw, listed = _part(values.get(4)), _part(values.get(5))
    if kind not in _DTYPES:
        return None
    if listed is not None and len(listed) == 4:  # a single number in the list stands for all
        return np.full(shape, np.frombuffer(listed, "<f4")[0], np.float32)
    numbers = raw if listed is None else listed
    return None if numbers is None else _array(numbers, kind, shape)


def _shape(shape: int | memoryview | None) -> tuple[int, ...]:
    """Field 2 of a shape is a dimension, again and again; field 1 of that is its size."""
    dimensions = [_part(value) for number, value in _fields(_part(shape) or b"") if number == 2]
    return tuple(_number(dict(_fields(each)).get(1)) for each in dimensions if each is not None)


def _number(value: int | memoryview | None) -> int:
    """A field that holds a number; 0 where it is left out."""
    return value if isinstance(value, int) else 0


def _part(value: int | memoryview | None) -> memoryview | None:
    """A field that holds bytes."""
    return value if isinstance(value, memoryview) else None


def _fields(message: memoryview | bytes) -> Message:
    """Numbers and values of a protocol buffer; what has a length is given as bytes, fixed numbers are passed over."""
    view, at = memoryview(message), 0
    while at < len(view):
        tag, at = _varint(view, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _varint(view, at)
            yield number, value
        elif kind == 2:
            length, at = _varint(view, at)
            if at + length > len(view):
                raise ValueError("cut off")
            yield number, view[at : at + length]
            at += length
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"no protocol buffer (kind {kind})")


def _varint(view: memoryview | bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number without end")
