"""Models as files: a path as it is, a state dict as a `.safetensors` file that is gone afterwards."""

from __future__ import annotations

import json
import os
import struct
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

#: Names of NumPy's types in a `.safetensors` header.
_TYPES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint8": "U8", "bool": "BOOL",
}


@contextmanager
def as_file(model: Any) -> Iterator[Path]:
    """The path of a file with the weights of `model`, for as long as the context lasts."""
    if isinstance(model, (str, os.PathLike)):
        path = Path(model)
        if not path.exists():
            raise FileNotFoundError(f"{path} is not there; give the path of a file of weights, a state dict or a torch module")
        yield path
        return
    tensors = _tensors(model)
    with tempfile.TemporaryDirectory(prefix="palimpsest-") as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(_safetensors(tensors))
        yield path


def kind_in_memory(model: Any) -> str | None:
    """What `model` is, if it is no file."""
    return None if isinstance(model, (str, os.PathLike)) else type(model).__name__


def _tensors(model: Any) -> dict[str, np.ndarray]:
    if not isinstance(model, Mapping):
        state_dict = getattr(model, "state_dict", None)
        if not callable(state_dict):
            raise TypeError(
                f"a model is a path, a mapping of names to arrays or tensors, or a torch module; got {type(model).__name__}"
            )
        model = state_dict()
    if not model:
        raise ValueError("the state dict holds no tensor")
    return {str(name): _array(str(name), tensor) for name, tensor in model.items()}


def _array(name: str, tensor: Any) -> np.ndarray:
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        if str(getattr(tensor, "dtype", "")) == "torch.bfloat16":
            tensor = tensor.float()
        tensor = tensor.numpy()
    array = np.asarray(tensor)
    if array.dtype.name not in _TYPES:
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False)).reshape(array.shape)


def _safetensors(tensors: dict[str, np.ndarray]) -> bytes:
    header: dict[str, Any] = {}
    at = 0
    for name, array in tensors.items():
        header[name] = {
            "dtype": _TYPES[array.dtype.name], "shape": list(array.shape), "data_offsets": [at, at + array.nbytes],
        }
        at += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, *(array.tobytes() for array in tensors.values())])
