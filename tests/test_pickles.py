"""Pickles are read as data: the official layouts in full, and nothing of any hostile one is run."""

from __future__ import annotations

import collections
import io
import os
import pickle
import struct
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from mien.errors import FormatError, InputError
from mien.pickles import read_pickle


class Calls:
    """Pickles as a call of ``function(*arguments)``."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.fixture
def chumpy(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """Stand-ins under chumpy's names, to write pickles as it does."""
    modules = {}
    for module, names in {"chumpy": (), "chumpy.ch": ("Ch",), "chumpy.reordering": ("Select",)}.items():
        modules[module] = types.ModuleType(module)
        for name in names:
            setattr(modules[module], name, type(name, (), {"__module__": module}))
        monkeypatch.setitem(sys.modules, module, modules[module])

    def ch(values: Any) -> Any:
        array = modules["chumpy.ch"].Ch()
        array.__dict__.update(x=np.asarray(values, float), _dirty_vars=set(), _itr=None, _depends_on_deps={})
        return array

    def select(values: Any, at: Any, shape: Any) -> Any:
        array = modules["chumpy.reordering"].Select()
        array.__dict__.update(a=ch(values), idxs=np.asarray(at), preferred_shape=shape, _dirty_vars={"a"})
        return array

    return types.SimpleNamespace(ch=ch, select=select)


def written(folder: Path, value: Any, protocol: int = 2) -> Path:
    path = folder / "value.pkl"
    path.write_bytes(pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_containers_and_arrays_of_every_kind(tmp_path: Path, protocol: int) -> None:
    shared = np.arange(3, dtype=">u2")
    value = {
        "numbers": [1, -5, 1 << 40, 1 << 80, 2.5, True, None, "ünï", b"\x00\xff"],
        "tuples": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
        "sets": {1, 2},
        "ordered": collections.OrderedDict([("a", [1]), ("b", 2)]),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "shared": [shared, shared],
        "scalar": np.float32(0.5),
        "words": np.array(["a", "bcd"]),
        "objects": np.array([{"x": np.eye(2)}, None], object),
        7: {3: 4},
    }
    got = read_pickle(written(tmp_path, value, protocol))
    assert got["shared"][0] is got["shared"][1]
    assert got["fortran"].flags.f_contiguous
    np.testing.assert_array_equal(got.pop("objects")[0]["x"], value.pop("objects")[0]["x"])
    np.testing.assert_equal(got, value)


def test_sparse_matrix_comes_back_dense(tmp_path: Path) -> None:
    dense = np.random.default_rng(0).random((5, 40)) * (np.random.default_rng(1).random((5, 40)) < 0.2)
    got = read_pickle(written(tmp_path, {"J": scipy.sparse.csc_matrix(dense)}))
    np.testing.assert_array_equal(got["J"], dense)


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_chumpy_arrays_without_chumpy(tmp_path: Path, chumpy: types.SimpleNamespace, protocol: int) -> None:
    values = np.arange(24.0).reshape(2, 3, 4)
    at = np.arange(24).reshape(2, 3, 4)[..., ::2].ravel()
    value = {"plain": chumpy.ch(values), "chosen": chumpy.select(values, at, (2, 3, 2))}
    got = read_pickle(written(tmp_path, value, protocol))
    np.testing.assert_array_equal(got["plain"], values)
    np.testing.assert_array_equal(got["chosen"], values[..., ::2])


def test_tensors_without_torch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    turned = torch.arange(12, dtype=torch.int64).reshape(3, 4).T[1:]
    value = {"a": torch.linspace(0, 1, 5), "turned": turned}
    # Written the way the published landmark files were, to be read without unpickling.
    np.save(tmp_path / "objects.npy", np.array(value, object), allow_pickle=True)
    got = read_pickle(tmp_path / "objects.npy")[()]
    np.testing.assert_array_equal(got["a"], value["a"].numpy())
    np.testing.assert_array_equal(got["turned"], turned.numpy())


def hostile(marker: Path) -> dict[str, bytes]:
    command = f"touch {marker}"
    stack_global = b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c" + bytes([len(command)]) + command.encode() + b"\x85R."
    return {
        "os.system": pickle.dumps({"v_template": np.eye(3), "f": Calls(os.system, command)}, 2),
        "in a chumpy array": pickle.dumps(Calls(getattr, Calls(__import__, "os"), "system"), 2),
        "eval": pickle.dumps(Calls(eval, f"open({str(marker)!r}, 'w')"), 2),
        "stack global": stack_global,
        "inst": b"(S'" + command.encode() + b"'\nios\nsystem\n.",
        "obj": b"(cos\nsystem\nS'" + command.encode() + b"'\no.",
        "numpy's own door": pickle.dumps(Calls(np.load, str(marker)), 2),
        "a name alone": pickle.dumps(os.system, 2),
        "a registered class": b"\x80\x02\x82\x01.",
        "a reference outside": b"\x80\x02X\x01\x00\x00\x00aQ.",
        "calls what it is not given": b"\x80\x02])R.",
        "changes a container": b"\x80\x02}}b.",
        "contains itself": b"\x80\x02]q\x00h\x00a.",
        "objects of a torch file": torch_bytes(Calls(os.system, command)),
    }


def torch_bytes(value: Any) -> bytes:
    """``torch.storage._load_from_bytes`` of a legacy torch file with ``value`` in it, which torch itself would load."""
    inner = io.BytesIO()
    for part in (0x1950A86A20F9469CFC6C, 1001, {}, value, []):
        pickle.dump(part, inner, 2)
    content = inner.getvalue()
    return b"ctorch.storage\n_load_from_bytes\n(B" + struct.pack("<I", len(content)) + content + b"tR."


@pytest.mark.parametrize("name", hostile(Path("x")))
@pytest.mark.parametrize("wrap", [False, True])
def test_hostile_pickles_are_refused_and_nothing_runs(tmp_path: Path, name: str, wrap: bool) -> None:
    marker = tmp_path / "it-ran"
    content = hostile(marker)[name]
    header = b"\x93NUMPY\x01\x00\x0e\x00{'descr':'|O'}" if wrap else b""
    (tmp_path / "evil.pkl").write_bytes(header + content)
    with pytest.raises(FormatError) as caught:
        read_pickle(tmp_path / "evil.pkl")
    assert str(caught.value).startswith(f"{tmp_path / 'evil.pkl'}: ") and "\n" not in str(caught.value)
    assert not marker.exists()


def test_the_message_names_what_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"refused, it asks for (posix|os)\.getcwd; "):
        read_pickle(written(tmp_path, Calls(os.getcwd)))


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80\x02", b"hello", b"\x80\x02}q\x00X\x05\x00", b"\x80\x02(.", b"\x80\x02u.", b"(" * 20_000 + b"l." * 9],
)
def test_damaged_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(FormatError, match=r"damaged|refused"):
        read_pickle(tmp_path / "a.pkl")


def test_cut_files_are_refused(tmp_path: Path) -> None:
    whole = pickle.dumps({"a": np.arange(100.0), "b": scipy.sparse.csc_matrix(np.eye(3))}, 2)
    for length in range(0, len(whole), 7):
        (tmp_path / "a.pkl").write_bytes(whole[:length])
        with pytest.raises(FormatError):
            read_pickle(tmp_path / "a.pkl")


@pytest.mark.parametrize("depth", [200_000])
def test_bombs_do_not_go_off(tmp_path: Path, depth: int) -> None:
    (tmp_path / "deep.pkl").write_bytes(b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b".")
    with pytest.raises(FormatError):
        read_pickle(tmp_path / "deep.pkl")
    laughs = b"\x80\x02]q\x00" + b"".join(
        b"0]q" + bytes([i + 1]) + b"(" + b"h" + bytes([i]) + b"h" + bytes([i]) + b"e" for i in range(60)
    )
    (tmp_path / "laughs.pkl").write_bytes(laughs + b".")
    assert len(read_pickle(tmp_path / "laughs.pkl")) == 2  # 2^60 lists, but each is one


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_pickle(tmp_path / "no.pkl")
    with pytest.raises(InputError, match="cannot be read"):
        read_pickle(tmp_path)


def test_reading_imports_neither_pickle_users_nor_scipy(tmp_path: Path) -> None:
    path = written(tmp_path, {"J": scipy.sparse.csc_matrix(np.eye(3))})
    program = (
        f"import sys; from mien.pickles import read_pickle; read_pickle({str(path)!r});"
        "print([name for name in ('scipy', 'torch', 'chumpy') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
