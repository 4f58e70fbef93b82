"""How much memory a least-squares fit with a full Jacobian needs at its peak.

The estimate is the size of one double precision Jacobian times 6.5. The factor is a rule of thumb: its shares
say what the memory is for, in units of one Jacobian, so that a reader can see what a leaner path would save.
It describes the path that holds every row at once. A fit that accumulates normal equations chunk by chunk
needs far less; what a process really used is measured by `homodyne_memory.peak_memory_gb`.
"""

from collections.abc import Mapping
from types import MappingProxyType

from homodyne_memory._counts import whole_number

BYTES_PER_NUMBER = 8
BYTES_PER_GB = 1e9

OVERHEAD_SHARES: Mapping[str, float] = MappingProxyType(
    {
        # The matrix itself, n_points x n_params.
        "jacobian": 1.0,
        # Tangents of the model's intermediate arrays, alive together while the columns are formed.
        "differentiation": 2.0,
        # The chunks' copy of the rows, with the padding that gives all of them one static shape.
        "padded_chunks": 1.5,
        # Temporaries and staging buffers of the compiled function.
        "compiled_buffers": 1.5,
        # The solver's own: residuals and their trial values, scaled rows, the triangular factor.
        "solver": 0.5,
    }
)
"""The five shares of the overhead factor, in units of one Jacobian; heuristic."""

OVERHEAD_FACTOR = sum(OVERHEAD_SHARES.values())
"""Peak memory over the size of one Jacobian: 6.5."""


def estimate_peak_memory_gb(n_points: int, n_params: int) -> float:
    """Peak memory of a least-squares fit that holds its full Jacobian.

    ``n_points * n_params * 8 bytes * 6.5``, the factor being the sum of `OVERHEAD_SHARES`.

    Parameters
    ----------
    n_points : int
        Length of the residual vector, >= 0.
    n_params : int
        Parameters that the solver varies, >= 1: those of the reduced problem where the fit has one, not those
        of the expanded result.

    Returns
    -------
    float
        Gigabytes of 10**9 bytes.

    Raises
    ------
    TypeError
        If a count is not an integer.
    ValueError
        If a count is negative, or ``n_params`` is 0.

    Examples
    --------
    >>> round(estimate_peak_memory_gb(23_000_000, 53), 2)
    63.39
    """
    n_points = whole_number("n_points", n_points, at_least=0)
    n_params = whole_number("n_params", n_params, at_least=1)
    return n_points * n_params * BYTES_PER_NUMBER * OVERHEAD_FACTOR / BYTES_PER_GB
