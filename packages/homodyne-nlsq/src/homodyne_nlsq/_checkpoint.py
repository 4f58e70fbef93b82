"""Finished passes over the data, kept on disk so that an interrupted fit goes on where it was.

The fit is deterministic: started again, it asks for the same passes in the same order, and those that are remembered cost nothing. So the Gram
matrices of the passes are all that has to be kept, a few kilobytes each.
"""

import hashlib
from pathlib import Path

import numpy as np

from homodyne_data import atomic_path


class RememberedPasses:
    """Gram matrices by what they were computed at.

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
                for key, gram in zip(file["key"], file["gram"], strict=True):
                    self._grams[key.tobytes()] = gram

    def recall(self, key: bytes) -> np.ndarray | None:
        """The Gram matrices at exactly the parameters (and the weights of a loss) that the key is made of, or None."""
        found = self._grams.get(_digest(key))
        self.recalled += found is not None
        return None if found is None else found.copy()

    def remember(self, key: bytes, gram: np.ndarray) -> None:
        """Keep a finished pass, on disk before this returns."""
        self._grams[_digest(key)] = gram.copy()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(self.path, overwrite=True) as path, open(path, "wb") as file:
            np.savez(
                file,
                key=np.array([np.frombuffer(key, np.uint8) for key in self._grams]),
                gram=np.array(list(self._grams.values())),
            )

    def forget(self) -> None:
        """Remove the file: the fit is finished."""
        self.path.unlink(missing_ok=True)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
