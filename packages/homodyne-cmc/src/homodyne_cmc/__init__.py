"""Consensus Monte Carlo for XPCS two-time maps: posteriors from shards, certified on all the data."""

from importlib.metadata import version as _version

from homodyne_cmc._config import CMCConfig
from homodyne_cmc._fit import fit_mcmc_jax
from homodyne_cmc._priors import Prior
from homodyne_cmc._result import CMCResult
from homodyne_cmc.errors import CMCInputError

__version__ = _version("homodyne-cmc")
__all__ = ["CMCConfig", "CMCInputError", "CMCResult", "Prior", "__version__", "fit_mcmc_jax"]
