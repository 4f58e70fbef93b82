"""Consensus Monte Carlo for XPCS two-time maps: posteriors from shards, certified on all the data."""

from importlib import import_module as _import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING as _TYPE_CHECKING

from homodyne_cmc._config import CMCConfig
from homodyne_cmc._prior import Prior
from homodyne_cmc.errors import CMCInputError

if _TYPE_CHECKING:
    from homodyne_cmc._fit import fit_mcmc_jax
    from homodyne_cmc._result import CMCResult

__version__ = _version("homodyne-cmc")
__all__ = ["CMCConfig", "CMCInputError", "CMCResult", "Prior", "__version__", "fit_mcmc_jax"]

# NumPyro and xarray take seconds to import, which a program that only checks settings need not wait for.
_WHERE = {"fit_mcmc_jax": "_fit", "CMCResult": "_result"}


def __getattr__(name: str):
    if name in _WHERE:
        return getattr(_import_module(f"homodyne_cmc.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
