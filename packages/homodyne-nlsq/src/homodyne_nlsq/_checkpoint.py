"""Finished passes over the data, kept on disk so that an interrupted fit goes on where it was.

The fit is deterministic: started again, it asks for the same passes in the same order, and those that are remembered cost nothing. So the Gram
matrices of the passes are all that has to be kept, a few kilobytes each.
"""

import hashlib
from pathlib import Path

import numpy as np

from homodyne_data import atomic_path


class RememberedPasses:
    """Gram matrices by the physical parameters that they were computed at.

    Parameters
    ----------
    directory : Path
        Where the file is kept; made if it is missing.
    identity : str
        What the passes depend on: the data with their noise and mask, and the model. Another identity is another file, so that passes of
        other data are never taken.
    """

    def __init__(self, directory: Path, identity: str) -> None:
        name = hashlib.sha256(identity.encode()).hexdigest()[:16]
        self.path = Path(directory) / f"passes-{name}.npz"
        self.recalled = 0
        self._grams: dict[bytes, np.ndarray] = {}
        if self.path.exists():
            with np.load(self.path, allow_pickle=False) as file:
                for physical, gram in zip(file["physical"], file["gram"], strict=True):
                    self._grams[physical.tobytes()] = gram

    def recall(self, physical: np.ndarray) -> np.ndarray | None:
        """The Gram matrices at exactly these parameters, or None."""
        found = self._grams.get(np.asarray(physical, dtype=float).tobytes())
        self.recalled += found is not None
        return None if found is None else found.copy()

    def remember(self, physical: np.ndarray, gram: np.ndarray) -> None:
        """Keep a finished pass, on disk before this returns."""
        self._grams[np.asarray(physical, dtype=float).tobytes()] = gram.copy()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(self.path, overwrite=True) as path, open(path, "wb") as file:
            np.savez(
                file,
                physical=np.array([np.frombuffer(key) for key in self._grams]),
                gram=np.array(list(self._grams.values())),
            )

    def forget(self) -> None:
        """Remove the file: the fit is finished."""
        self.path.unlink(missing_ok=True)
