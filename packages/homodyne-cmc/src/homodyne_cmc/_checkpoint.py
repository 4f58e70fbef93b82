"""Where finished chains of a run are kept: a folder that belongs to data, settings and start.

The start is kept with them. Least squares that are run again end at numbers that differ in their last digits; chains of both runs fit together
only because the second takes the start of the first.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np

from homodyne_cmc._config import CMCConfig
from homodyne_cmc._coordinates import PosteriorCoordinates
from homodyne_cmc._mode import Start
from homodyne_cmc._open_shares import OpenShares
from homodyne_cmc._problem import Problem
from homodyne_cmc._warm_start import WarmStart
from homodyne_data import atomic_path

# Settings that chains do not depend on.
_WITHOUT_EFFECT = ("checkpoint_dir", "certificate_draws", "shard_timeout", "robust_draws")
# Warm starts that differ by less, relative to the errors, are the same.
_SAME = 1e-3


def identity(config: CMCConfig, parts: Sequence) -> str:
    """Name of a run: a hash of its settings and of what else decides its chains (arrays, numbers, strings, None)."""
    settings = {k: v for k, v in config.to_mapping().items() if k not in _WITHOUT_EFFECT}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for part in parts:
        is_array = isinstance(part, np.ndarray)
        digest.update(np.ascontiguousarray(part, dtype=float).tobytes() if is_array else repr(part).encode())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Checkpoint:
    """Folder of one run.

    Parameters
    ----------
    folder : Path
        Made when something is kept.
    warm : WarmStart or None
        What the run is started from.
    """

    folder: Path
    warm: WarmStart | None

    @classmethod
    def of(cls, parent: Path, name: str, warm: WarmStart | None) -> "Checkpoint":
        """The folder of a run with this warm start: an older one, or the first that is free."""
        for number in count(1):
            folder = parent / (f"draws-{name}" if number == 1 else f"draws-{name}-{number}")
            found = cls(folder, warm)
            if not found._start_file.exists() or found._is_ours():
                return found
        raise AssertionError  # `count` does not end

    @property
    def _start_file(self) -> Path:
        return self.folder / "start.npz"

    def chain(self, shard: int, chain: int) -> Path:
        """File of a chain."""
        return self.folder / f"shard-{shard:04d}-chain-{chain:02d}.npz"

    def start(self, problem: Problem) -> Start | None:
        """The start that is kept here."""
        if not self._start_file.exists():
            return None
        with np.load(self._start_file, allow_pickle=False) as file:
            values = {name: file[name] for name in file.files}
        coordinates = PosteriorCoordinates(
            *(tuple(values[name].tolist()) for name in ("t_refs", "signs", "widths")),
            problem.coordinates.held,
        )
        open_shares = OpenShares(values["open_center"], values["open_spread"], values["open_rates"])
        problem = replace(problem, coordinates=coordinates, open_shares=open_shares)
        return Start.at(problem, values["mu"], values["root"], values["notes"].tolist())

    def keep(self, start: Start) -> None:
        """Keep the start."""
        self.folder.mkdir(parents=True, exist_ok=True)
        coordinates, open_shares = start.problem.coordinates, start.problem.open_shares
        with atomic_path(self._start_file, overwrite=True) as path, open(path, "wb") as file:
            np.savez(
                file,
                mu=start.mu,
                root=start.root,
                notes=np.array(start.notes, dtype=str),
                t_refs=coordinates.t_refs,
                signs=coordinates.signs,
                widths=coordinates.widths,
                open_center=open_shares.center,
                open_spread=open_shares.spread,
                open_rates=open_shares.rates,
                **self._warm(),
            )

    def _warm(self) -> dict[str, np.ndarray]:
        if self.warm is None:
            return {}
        covariance = {} if self.warm.covariance is None else {"warm_covariance": self.warm.covariance}
        return {"warm": self.warm.physical, **covariance}

    def _is_ours(self) -> bool:
        with np.load(self._start_file, allow_pickle=False) as file:
            kept = {name: file[name] for name in ("warm", "warm_covariance") if name in file.files}
        ours = self._warm()
        if kept.keys() != ours.keys():
            return False
        if "warm_covariance" in ours:
            sd = np.sqrt(np.abs(np.diag(ours["warm_covariance"])))
            off = np.abs(kept["warm_covariance"] - ours["warm_covariance"])
            return bool(
                (np.abs(kept["warm"] - ours["warm"]) <= _SAME * sd).all()
                and (off <= _SAME * np.outer(sd, sd)).all()
            )
        return all(np.allclose(kept[name], ours[name], rtol=1e-9, atol=0.0) for name in ours)
