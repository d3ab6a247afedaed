"""Python's pickle files read as data: nothing in them is imported, called or unpickled.

Face models and data sets of the field are published as pickles. A pickle is a program: it may name any function and
have it called. Here its instructions are only taken apart (:func:`pickletools.genops`) and put together again by a
machine that knows how to make plain containers, NumPy arrays, SciPy's sparse matrices, chumpy's arrays and torch's
tensors, each by its exact name. Anything else is refused. Neither chumpy, SciPy nor torch is imported.
"""

from __future__ import annotations

import io
import math
import pickletools
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from mien.errors import FormatError, InputError

AnyArray = npt.NDArray[Any]

_NPY_MAGIC = b"\x93NUMPY"
_TORCH_DTYPES = {
    "torch FloatStorage": "<f4",
    "torch DoubleStorage": "<f8",
    "torch HalfStorage": "<f2",
    "torch LongStorage": "<i8",
    "torch IntStorage": "<i4",
    "torch ShortStorage": "<i2",
    "torch ByteStorage": "|u1",
    "torch BoolStorage": "|b1",
}
_MOST_VALUES = 1 << 27  # in a sparse matrix made dense: 1 GB of doubles; FLAME's joints take 25 thousand
_DTYPE = re.compile(r"[<>|=]?(?:[iu][1248]|f[248]|b1|[SU]\d{1,6}|O8?)")


class _Refused(Exception):
    """The pickle holds something that is not data, or that contradicts itself."""


@dataclass(eq=False, slots=True)
class _Name:
    """A function or class that the pickle names; it stays a name."""

    path: str


@dataclass(eq=False, slots=True)
class _Made:
    """What the pickle wants made by calling ``maker``; made by :class:`_Builder`, if it knows how."""

    maker: str
    arguments: tuple[Any, ...]
    state: Any = None


def read_pickle(path: str | Path) -> Any:
    """What a pickle (``.pkl``, or ``.npy`` that holds objects) contains, as plain Python containers and NumPy arrays.

    Text of Python 2 is decoded as Latin-1. Sparse matrices come back dense, chumpy arrays and torch tensors as arrays.

    Raises:
        InputError: if the file is missing.
        FormatError: if it is damaged, no pickle, or asks for anything but data; the message names what it asks for.
    """
    try:
        with Path(path).open("rb") as file:
            if file.read(len(_NPY_MAGIC)) == _NPY_MAGIC:
                _skip_npy_header(file)
            else:
                file.seek(0)
            value = _parse(file)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file", "check the path") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})", "check the path") from error
    except _Refused as error:
        raise FormatError(f"{path}: refused, {error}", "use the original file from its publisher") from None
    except _FAULTS as error:
        raise FormatError(f"{path}: not a pickle, or damaged ({error})", "download it again") from error
    return value


def _parse(file: IO[bytes]) -> Any:
    """The next pickle of a stream; :func:`read_pickle` with its errors as they are."""
    return _Builder().build(_Machine().run(file))


_FAULTS = (ValueError, KeyError, IndexError, TypeError, AttributeError, EOFError, RecursionError, struct.error,
           MemoryError, OverflowError)  # fmt: skip


def _skip_npy_header(file: IO[bytes]) -> None:
    major = file.read(2)[0]
    (length,) = struct.unpack("<H", file.read(2)) if major == 1 else struct.unpack("<I", file.read(4))
    header = file.read(length)
    if b"O" not in header:
        raise ValueError("an .npy of plain numbers, not of objects")


_MARK = object()


class _Machine:
    """Carries out the instructions of a pickle; what they would have called becomes a :class:`_Made`."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, file: IO[bytes]) -> Any:
        """The object tree that the next pickle of a stream describes."""
        argument: Any
        for opcode, argument, _ in pickletools.genops(file):
            name = opcode.name
            if name in _PUSHED:
                self.stack.append(argument)
            elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
                self.memo[int(argument)] = self.stack[-1]
            elif name in ("BINGET", "LONG_BINGET", "GET"):
                self.stack.append(self.memo[int(argument)])
            elif name in _PUSHING:
                self.stack.append(_PUSHING[name](self))
            elif name in _CHANGING:
                _CHANGING[name](self)
            elif name == "GLOBAL":
                self.stack.append(_Name(str(argument)))
            elif name == "STOP":
                (result,) = self.take(1)
                if self.stack or result is _MARK:
                    raise ValueError("values are left over")
                return result
            else:
                raise _Refused(f"it uses the instruction {name}")
        raise EOFError("cut off")

    def take(self, n: int) -> tuple[Any, ...]:
        """The last ``n`` values, off the stack."""
        if n > len(self.stack):
            raise IndexError("an instruction without its operands")
        items = tuple(self.stack[len(self.stack) - n :])
        del self.stack[len(self.stack) - n :]
        return items

    def since_mark(self) -> list[Any]:
        """All values after the last mark, off the stack with it."""
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise IndexError("a list without its beginning")
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def call(self) -> Any:
        maker, arguments = self.take(2)
        if not isinstance(maker, _Name) or not isinstance(arguments, tuple):
            raise _Refused("it calls something without a name")
        if maker.path == "collections OrderedDict" and not arguments:
            return {}  # filled by the instructions that follow
        return _Made(maker.path, arguments)

    def set_state(self) -> None:
        (state,) = self.take(1)
        if not isinstance(self.stack[-1], _Made):
            raise _Refused("it changes something it has not made")
        self.stack[-1].state = state

    def add(self, items: Sequence[Any], kind: type) -> None:
        """Put items into the container on top of the stack, which must be of this kind."""
        container = _as(kind, self.stack[-1])
        if kind is list:
            container.extend(items)
        else:
            container.update(_pairs(items) if kind is dict else items)


def _pairs(items: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    return zip(items[::2], items[1::2], strict=True)


_PUSHED = frozenset({
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "BYTEARRAY8",
})  # fmt: skip
"""Instructions that push their own argument."""

_PUSHING: dict[str, Callable[[_Machine], Any]] = {
    "NONE": lambda _: None,
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "EMPTY_LIST": lambda _: [],
    "EMPTY_TUPLE": lambda _: (),
    "EMPTY_DICT": lambda _: {},
    "EMPTY_SET": lambda _: set(),
    "MARK": lambda _: _MARK,
    "LIST": _Machine.since_mark,
    "TUPLE": lambda machine: tuple(machine.since_mark()),
    "DICT": lambda machine: dict(_pairs(machine.since_mark())),
    "FROZENSET": lambda machine: frozenset(machine.since_mark()),
    "TUPLE1": lambda machine: machine.take(1),
    "TUPLE2": lambda machine: machine.take(2),
    "TUPLE3": lambda machine: machine.take(3),
    "DUP": lambda machine: machine.stack[-1],
    "BINPERSID": lambda machine: _Made("persistent", machine.take(1)),
    "STACK_GLOBAL": lambda machine: _Name(" ".join(map(str, machine.take(2)))),
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
}
"""Instructions that push what they make."""

_CHANGING: dict[str, Callable[[_Machine], Any]] = {
    "POP": lambda machine: machine.take(1),
    "POP_MARK": _Machine.since_mark,
    "APPEND": lambda machine: machine.add(machine.take(1), list),
    "APPENDS": lambda machine: machine.add(machine.since_mark(), list),
    "SETITEM": lambda machine: machine.add(machine.take(2), dict),
    "SETITEMS": lambda machine: machine.add(machine.since_mark(), dict),
    "ADDITEMS": lambda machine: machine.add(machine.since_mark(), set),
    "MEMOIZE": lambda machine: machine.memo.__setitem__(len(machine.memo), machine.stack[-1]),
    "BUILD": _Machine.set_state,
    "PROTO": lambda _: None,
    "FRAME": lambda _: None,
}
"""Instructions that change what is there."""


def _as(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"a {kind.__name__} expected, found a {type(value).__name__}")
    return value


_IN_PROGRESS = object()


class _Builder:
    """Makes data of the tree; each node once, so that what is shared stays shared."""

    def __init__(self, torch_storages: dict[str, AnyArray] | None = None) -> None:
        self._done: dict[int, Any] = {}
        self._alive: list[Any] = []  # keeps ids from being given away again
        self._torch_storages = torch_storages

    def build(self, node: Any) -> Any:
        if isinstance(node, str | bytes | int | float | None):
            return node
        if isinstance(node, _Name):
            raise _Refused(f"it asks for {node.path.replace(' ', '.')}")
        if id(node) in self._done:
            value = self._done[id(node)]
            if value is _IN_PROGRESS:
                raise _Refused("something contains itself")
            return value
        self._done[id(node)] = _IN_PROGRESS
        self._alive.append(node)
        value = self._done[id(node)] = self._new(node)
        return value

    def _new(self, node: Any) -> Any:
        if isinstance(node, dict):
            return {self.build(key): self.build(value) for key, value in node.items()}
        if isinstance(node, list | tuple | set | frozenset):
            return type(node)(self.build(item) for item in node)
        if not isinstance(node, _Made):
            return node  # a bytearray
        maker = _MAKERS.get(node.maker.replace("numpy._core", "numpy.core").replace("_csc csc_", "csc csc_"))
        if maker is None:
            raise _Refused(f"it asks for {node.maker.replace(' ', '.')}")
        return maker(self, node)

    def state(self, node: _Made) -> dict[str, Any]:
        state = node.state[0] if isinstance(node.state, tuple) and node.state else node.state
        return {name: value for name, value in _as(dict, state).items() if type(name) is str}

    def array(self, node: _Made) -> AnyArray:
        """``ndarray.__setstate__``: version, shape, dtype, is Fortran, data."""
        _, shape, dtype_node, fortran, data = node.state
        dtype = self.build(dtype_node)
        if not isinstance(dtype, np.dtype):
            raise TypeError("an array without a dtype")
        shape = _shape(shape)
        if dtype.hasobject:
            values = np.empty(len(_as(list, data)), object)
            for index, item in enumerate(data):
                values[index] = self.build(item)
        else:
            values = np.frombuffer(_bytes(self.build(data)), dtype)
        return values.reshape(shape, order="F" if fortran else "C")

    def buffer(self, node: _Made) -> AnyArray:
        """Protocol 5's arrays: data, dtype, shape, order."""
        data, dtype, shape, order = (self.build(value) for value in node.arguments)
        return np.frombuffer(bytes(data), dtype).reshape(_shape(shape), order="F" if order == "F" else "C")

    def dtype(self, node: _Made) -> np.dtype[Any]:
        text = node.arguments[0]
        if not isinstance(text, str) or not _DTYPE.fullmatch(text):
            raise _Refused(f"it holds an array of type {text!r}")
        foreign = bool(node.state) and node.state[1] == ">"
        return np.dtype(text.replace("O8", "O")).newbyteorder(">" if foreign else "<")

    def scalar(self, node: _Made) -> Any:
        dtype, data = node.arguments
        return np.frombuffer(_bytes(self.build(data)), self.build(dtype))[0]

    def encoded(self, node: _Made) -> bytes:
        return _bytes(node.arguments[0])  # Python 3 writes bytes for Python 2 as text and its encoding

    def set(self, node: _Made) -> Any:
        return set(self.build(_as(list, node.arguments[0]))) if node.arguments else set()

    def ordered_dict(self, node: _Made) -> Any:
        return {_as(str, key): self.build(value) for key, value in node.arguments[0]}

    def compressed_columns(self, node: _Made) -> AnyArray:
        state = {name: self.build(value) for name, value in self.state(node).items()}
        shape = _shape(state["_shape"])
        if len(shape) != 2 or len(state["indptr"]) != shape[1] + 1 or math.prod(shape) > _MOST_VALUES:
            raise ValueError(f"a sparse matrix of {shape} with other columns")
        dense = np.zeros(shape, state["data"].dtype)
        columns = np.repeat(np.arange(shape[1]), np.diff(state["indptr"]))
        np.add.at(dense, (state["indices"], columns), state["data"])
        return dense

    def chumpy(self, node: _Made) -> Any:
        return self.build(self.state(node)["x"])

    def chumpy_select(self, node: _Made) -> AnyArray:
        state = self.state(node)
        source, at = np.asarray(self.build(state["a"])), np.asarray(self.build(state["idxs"]))
        shape = self.build(state.get("preferred_shape"))
        return np.asarray(source.ravel()[at]).reshape(at.shape if shape is None else _shape(shape))

    def old_style(self, node: _Made) -> Any:
        """Protocols 0 and 1 write ``copy_reg._reconstructor(class, object, None)`` for ``NEWOBJ``."""
        return self.build(_Made(node.arguments[0].path, (), node.state))

    def tensor(self, node: _Made) -> AnyArray:
        storage, offset, size, stride = (self.build(value) for value in node.arguments[:4])
        size, stride = _shape(size), _shape(stride)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if math.prod(size) > len(storage) or min(offset, last, *stride, 0) < 0:
            raise ValueError("a tensor larger than its data")
        at = np.full(size, offset, np.int64)
        for axis, step in enumerate(stride):
            at += (np.arange(size[axis]) * step).reshape(-1, *[1] * (len(size) - axis - 1))
        return np.asarray(storage[at])

    def torch_storage(self, node: _Made) -> AnyArray:
        return _torch_storage(_bytes(self.build(node.arguments[0])))

    def persistent(self, node: _Made) -> AnyArray:
        kind, storage_type, key, *_ = node.arguments[0]
        if self._torch_storages is None or kind != "storage" or storage_type.path not in _TORCH_DTYPES:
            raise _Refused("it refers to something outside of itself")
        empty: AnyArray = np.empty(0, _TORCH_DTYPES[storage_type.path])
        self._torch_storages.setdefault(key, empty)
        return self._torch_storages[key]


_MAKERS: dict[str, Callable[[_Builder, _Made], Any]] = {
    "numpy.core.multiarray _reconstruct": _Builder.array,
    "numpy.core.numeric _frombuffer": _Builder.buffer,
    "numpy.core.multiarray scalar": _Builder.scalar,
    "numpy dtype": _Builder.dtype,
    "_codecs encode": _Builder.encoded,
    "__builtin__ set": _Builder.set,
    "builtins set": _Builder.set,
    "collections OrderedDict": _Builder.ordered_dict,
    "scipy.sparse.csc csc_matrix": _Builder.compressed_columns,
    "chumpy.ch Ch": _Builder.chumpy,
    "chumpy.reordering Select": _Builder.chumpy_select,
    "copy_reg _reconstructor": _Builder.old_style,
    "copyreg _reconstructor": _Builder.old_style,
    "torch._utils _rebuild_tensor_v2": _Builder.tensor,
    "torch.storage _load_from_bytes": _Builder.torch_storage,
    "persistent": _Builder.persistent,
}
"""What may be made, by the name of what a pickle would call."""


def _torch_storage(content: bytes) -> AnyArray:
    """The one storage in what ``torch.save`` wrote before its archives: five pickles, then counted raw values."""
    file = io.BytesIO(content)
    storages: dict[str, AnyArray] = {}
    for _ in range(3):  # magic number, protocol, byte order of the machine
        _parse(file)
    _Builder(storages).build(_Machine().run(file))
    for key in _parse(file):
        (count,) = struct.unpack("<q", file.read(8))
        dtype = storages[key].dtype
        storages[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype, count)
    (storage,) = storages.values()
    return storage


def _bytes(value: Any) -> bytes:
    """Python 2's strings, which :func:`pickletools.genops` decodes as Latin-1, back as bytes."""
    return value.encode("latin-1") if isinstance(value, str) else bytes(_as(bytes, value))


def _shape(value: Any) -> tuple[int, ...]:
    shape = tuple(value)
    if not all(type(n) is int for n in shape):
        raise TypeError(f"a shape of {shape!r}")
    return shape
