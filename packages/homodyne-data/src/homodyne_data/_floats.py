"""The float types that maps come in."""

from typing import Any

import numpy as np


def native_float(array: Any) -> np.ndarray:
    """`array` as float32 or float64 in native byte order, without a copy where it is already."""
    array = np.asarray(array)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"c2 must hold real numbers, got dtype {array.dtype}")
    if array.dtype.kind == "f" and array.dtype.itemsize in (2, 4):
        return array.astype(np.float32, copy=False)
    return array.astype(np.float64, copy=False)
