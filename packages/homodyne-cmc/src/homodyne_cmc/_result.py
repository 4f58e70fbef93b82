"""What sampling returns: the posterior, what it rests on, and in words whether it can be trusted."""

import json
from dataclasses import dataclass
from pathlib import Path

import h5netcdf
import numpy as np
import xarray as xr

from homodyne_cmc import _summary
from homodyne_cmc._tree import SCHEMA, SCHEMA_VERSION
from homodyne_data import atomic_path
from homodyne_model import PARAMETERS, AnalysisMode


@dataclass(frozen=True, eq=False)
class CMCResult:
    """Posterior of two-time maps.

    Parameters
    ----------
    tree : xarray.DataTree
        Groups in ArviZ conventions: ``posterior`` (natural parameters; contrast, offset and, where it was inferred, sigma with dimension
        ``angle``), ``posterior_robust`` where asked for, ``sample_stats``, ``prior``, ``observed_data`` and
        ``posterior_predictive`` (C2 averaged over windows of age and bins of lag, measured and of the model), ``constant_data``; of our own ``certificate``
        (weighted draws, k-hat, effective draws), ``shards`` (draws and diagnostics of every shard), ``consensus`` (what the shards say before
        the certificate, and how well they agree) and ``warm_start``.

    Notes
    -----
    The draws of ``posterior`` are resampled from the weighted draws of the certificate and therefore independent of each other but for repetitions;
    R-hat belongs to the shards, k-hat and effective draws to the certificate.
    """

    tree: xr.DataTree

    @property
    def status(self) -> str:
        """``certified``, ``not certified`` or ``failed``."""
        return self.tree.attrs["status"]

    @property
    def message(self) -> str:
        """Why, in words."""
        return self.tree.attrs["message"]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the numbers must know, in sentences."""
        return tuple(json.loads(self.tree.attrs["warnings"]))

    @property
    def method(self) -> str:
        """``cmc``, ``nuts`` or ``laplace``."""
        return self.tree.attrs["method"]

    @property
    def analysis_mode(self) -> str:
        """Which transport the model describes."""
        return self.tree.attrs["analysis_mode"]

    @property
    def n_shards(self) -> int:
        """Shards that the data were divided into."""
        return int(self.tree.attrs["n_shards"])

    @property
    def n_points(self) -> int:
        """Points that count."""
        return int(self.tree.attrs["n_points"])

    @property
    def settings(self) -> dict:
        """The configuration, with what was decided for it."""
        return json.loads(self.tree.attrs["settings"])

    @property
    def seconds(self) -> dict[str, float]:
        """Time of the stages [s]."""
        return json.loads(self.tree.attrs["seconds"])

    @property
    def physical_names(self) -> tuple[str, ...]:
        """Names of the physical parameters."""
        return AnalysisMode(self.analysis_mode).physical_names

    @property
    def fixed(self) -> dict[str, float]:
        """Physical parameters that were held, and at what; their sd of 0 is no result."""
        return dict(self.settings["fixed"])

    @property
    def posterior(self) -> xr.Dataset:
        """Draws of the posterior, dimensions chain (one), draw and angle."""
        return self.tree["posterior"].dataset

    @property
    def draws(self) -> np.ndarray:
        """Draws of the physical parameters, (n_draws, n_physical)."""
        return np.stack([self.posterior[name].values[0] for name in self.physical_names], axis=1)

    @property
    def mean(self) -> dict[str, float]:
        """Posterior means of the physical parameters."""
        return self._by_name(self._draws_together().mean(0))

    @property
    def sd(self) -> dict[str, float]:
        """Posterior standard deviations of the physical parameters."""
        return self._by_name(self._draws_together().std(0))

    @property
    def covariance(self) -> np.ndarray:
        """Posterior covariance of the physical parameters, (n_physical, n_physical)."""
        return np.cov(self._draws_together(), rowvar=False)

    @property
    def robust_sd(self) -> dict[str, float] | None:
        """Standard errors of the warm start that know that points share frames and speckles; None where it brought none."""
        if "warm_start" not in self.tree or "robust_sd" not in self.tree["warm_start"]:
            return None
        return self._by_name(self.tree["warm_start"]["robust_sd"].values)

    @property
    def robust_posterior(self) -> xr.Dataset | None:
        """Draws of the physical parameters from the posterior widened to the clustered errors; None where ``robust_draws`` was not asked for.

        The likelihood is that of Ribatet, Cooley & Davison (2012). Attributes ``status`` and ``message`` say whether the draws can be trusted.
        """
        return self.tree["posterior_robust"].dataset if "posterior_robust" in self.tree else None

    @property
    def sd_error(self) -> dict[str, float]:
        """Relative Monte Carlo errors of the posterior standard deviations; large for tails that reach far out."""
        return self._by_name(self.tree["certificate"]["sd_error"].values)

    @property
    def k_hat(self) -> float:
        """Shape of the tail of the certificate's weights; below 0.7 they can be trusted."""
        return float(self.tree["certificate"]["k_hat"].values[-1])

    @property
    def ess(self) -> float:
        """Effective draws of the certificate."""
        return float(self.tree["certificate"]["ess"].values[-1])

    def quantiles(self, name: str, probabilities=(0.025, 0.16, 0.5, 0.84, 0.975)) -> np.ndarray:
        """Quantiles of a physical parameter.

        Raises
        ------
        ValueError
            If there is no such parameter.
        """
        values = self.values(name)
        return np.quantile(values, probabilities) if len(values) else np.full(len(probabilities), np.nan)

    def wall_share(self, name: str) -> tuple[float, float]:
        """Share of the draws of a physical parameter within a fifth of their standard deviation of its lower and of its upper bound.

        Near 0 where the data decide; some percent where the bound does.
        """
        if name in self.fixed:
            return 0.0, 0.0
        lower, upper = self.settings["bounds"].get(name, (PARAMETERS[name].lower, PARAMETERS[name].upper))
        values = self._draws_together()[:, self.physical_names.index(name)]
        edge = values.std() / 5
        return float(np.mean(values < lower + edge)), float(np.mean(values > upper - edge))

    def values(self, name: str, *, robust: bool = False) -> np.ndarray:
        """Draws of a physical parameter, (n_draws,); directions of the flow about one image, so that moments have a meaning.

        Parameters
        ----------
        name : str
        robust : bool
            Of the posterior widened to the clustered errors.

        Raises
        ------
        ValueError
            If there is no such parameter, or no such posterior.
        """
        if name not in self.physical_names:
            raise ValueError(f"name is {name!r}; expected one of {', '.join(self.physical_names)}.")
        draws = self.robust_posterior if robust else self.posterior
        if draws is None:
            raise ValueError(
                "robust is True, but the result has no such draws; expected robust_draws in the settings."
            )
        values = draws[name].values[0]
        if name != "phi0" or not len(values):
            return values
        doubled = np.deg2rad(2 * values)
        center = np.rad2deg(np.arctan2(np.sin(doubled).mean(), np.cos(doubled).mean())) / 2
        return values - 180 * np.round((values - center) / 180)

    def _draws_together(self) -> np.ndarray:
        """Draws of all physical parameters, one row of NaN where there are none."""
        draws = np.stack([self.values(name) for name in self.physical_names], axis=1)
        return draws if len(draws) else np.full((1, draws.shape[1]), np.nan)

    def _by_name(self, values) -> dict[str, float]:
        return dict(zip(self.physical_names, np.asarray(values).tolist(), strict=True))

    def summary(self) -> str:
        """The result in words and columns, for a terminal."""
        return _summary.summary(self)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the tree into a NetCDF file, whole or not at all.

        Parameters
        ----------
        path : path
            File to write; its directory must exist.
        overwrite : bool
            Replace a file that is there.

        Raises
        ------
        FileExistsError
            If the file is there and ``overwrite`` is false.
        """
        tree = self.tree.copy()
        tree.attrs["h5netcdf"] = h5netcdf.__version__
        with atomic_path(path, overwrite=overwrite) as temporary:
            tree.to_netcdf(temporary, engine="h5netcdf")
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> "CMCResult":
        """A result from a file that `save` wrote; the file is not kept open.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it holds something else.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"no file at {path}")
        with xr.open_datatree(path, engine="h5netcdf") as file:
            tree = file.load()
        if tree.attrs.get("schema") != SCHEMA or int(tree.attrs["schema_version"]) > SCHEMA_VERSION:
            raise ValueError(f"{path} is no {SCHEMA} of version {SCHEMA_VERSION} or less.")
        return cls(tree)
