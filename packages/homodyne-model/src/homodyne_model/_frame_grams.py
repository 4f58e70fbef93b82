"""Gram matrices of the pairs that a stretch of frames takes part in: the pass of the normal equations, kept apart by frame.

Every pair has a later and an earlier frame. With frames in blocks of equal length, the matrices of [0] belong to the pairs whose later
frame lies in a block, those of [1] to the pairs whose earlier frame does; over all blocks either adds up to `normal_equations`. As the
columns hold C2 too, they give score and curvature of a block at any contrast and offset
(`homodyne_model.clustered_meat`).

A tile is as high (or as wide) as a block and long in the other direction, so that its sums belong to one block; the two kinds of
blocks take a pass each.
"""

from functools import partial

import jax
import jax.numpy as jnp

from homodyne_model._normal_equations import Pass, assemble, no_sums
from homodyne_model._two_time_model import TwoTimeModel
from homodyne_model.errors import ModelError

# Pairs of a tile, about, and the most frames that its long side spans: longer, and too much of it lies beyond the diagonal.
_TILE_PAIRS, _LONGEST = 4096, 256


def frame_grams(model: TwoTimeModel, physical, c2, weights=None, *, block: int, first_row: int = 0):
    """Gram matrices of the columns ``[∂f/∂θ, f, 1, C2 - 1]`` by blocks of frames, over the pairs with t1 > t2.

    Parameters
    ----------
    model : TwoTimeModel
        Geometry and choices.
    physical : array_like, (3,) or (7,)
        Physical parameters θ in their natural units.
    c2 : array_like, (n_phi, n_t, n_t) or (n_phi, n_rows, n_t)
        Two-time maps, or consecutive rows of them, as for `normal_equations`.
    weights : array_like, shape of ``c2``, optional
        Weight of every entry, as for `normal_equations`.
    block : int
        Frames of a block, at least 1; the last block may be shorter.
    first_row : int
        Frame of the first row that ``c2`` holds.

    Returns
    -------
    Array, (n_phi, 2, n_blocks, n_physical + 3, n_physical + 3)
        [:, 0, k]: pairs whose later frame lies in block k. [:, 1, k]: pairs whose earlier frame does. n_blocks is n_t / block, rounded up.

    Raises
    ------
    ModelError
        If shapes do not fit the model or ``block`` is not a positive whole number.

    Notes
    -----
    Additive: the sum over chunks of rows, of whatever size, is the result for the whole maps.

    Examples
    --------
    >>> import numpy as np
    >>> model = TwoTimeModel("static", q=0.005, t=np.arange(4) * 0.1, phi=[0.0, 90.0])
    >>> grams = frame_grams(model, np.array([1e3, 0.1, 0.0]), np.ones((2, 4, 4)), block=2)
    >>> grams.shape, grams[0, :, :, 4, 4].tolist()
    ((2, 2, 2, 6, 6), [[1.0, 5.0], [5.0, 1.0]])
    """
    if not isinstance(block, int) or block < 1:
        raise ModelError(f"block is {block!r}; expected a whole number of frames, at least 1.")
    return _grams_by_frame(*Pass.of(model, physical, c2, weights, first_row), min(block, model.n_t))


@partial(jax.jit, static_argnames="block")
def _grams_by_frame(model, physical, c2, weights, first_row, block):
    data = Pass(model, physical, c2, weights, first_row)
    by_frame = jnp.stack([_by_later_frame(data, block), _by_earlier_frame(data, block)])
    return jnp.moveaxis(by_frame, 2, 0)


def _by_later_frame(data: Pass, block: int):
    """(n_blocks, n_phi, n, n)."""
    n_rows, n_t, first_row = data.c2.shape[1], data.model.n_t, data.first_row
    height, width = min(block, n_rows), _length(block, n_t)
    tile_sums = data.tile_sums(height, width)
    first_block = first_row // block
    n_blocks, n_touched = -(-n_t // block), (n_rows - 1) // block + 2

    def of_block(k):
        row = (first_block + k) * block - first_row
        end = jnp.minimum(row + block, n_rows)
        n_tiles = jnp.where(row < n_rows, (first_row + end - 1) // width + 1, 0)
        return _sum_of_tiles(lambda tile: tile_sums(row, tile * width, end), 0, n_tiles, tile_sums)

    touched = _assembled(data, jax.lax.map(of_block, jnp.arange(n_touched)))
    every = jnp.zeros((n_blocks + n_touched, *touched.shape[1:]), touched.dtype)
    return jax.lax.dynamic_update_slice_in_dim(every, touched, first_block, axis=0)[:n_blocks]


def _by_earlier_frame(data: Pass, block: int):
    """(n_blocks, n_phi, n, n)."""
    n_rows, n_t, first_row = data.c2.shape[1], data.model.n_t, data.first_row
    height, width = _length(block, n_rows), block
    tile_sums = data.tile_sums(height, width)

    def of_block(k):
        col = k * block
        begin = jnp.maximum(col - first_row, 0) // height
        return _sum_of_tiles(
            lambda tile: tile_sums(tile * height, col, end_col=col + block),
            begin,
            -(-n_rows // height),
            tile_sums,
        )

    return _assembled(data, jax.lax.map(of_block, jnp.arange(-(-n_t // block))))


def _length(block: int, n: int) -> int:
    """Long side of a tile along n frames."""
    longest = min(_LONGEST, max(1, _TILE_PAIRS // block))
    return -(-n // -(-n // longest))


def _sum_of_tiles(sums_of, begin, end, tile_sums):
    add = lambda tile, total: jax.tree.map(jnp.add, total, sums_of(tile))  # noqa: E731
    return jax.lax.fori_loop(begin, end, add, no_sums(tile_sums))


def _assembled(data: Pass, sums):
    return jax.vmap(lambda one: assemble(data.model, data.physical, one))(sums)
