"""Gram matrices of the pairs that a stretch of frames takes part in: the pass of the normal equations, kept apart by frame.

Every pair has a later and an earlier frame. With frames in blocks of equal length, the matrices of [0] belong to the pairs whose later
frame lies in a block, those of [1] to the pairs whose earlier frame does; over all blocks either adds up to `normal_equations`. As the
columns hold C2 too, they give score and curvature of a block at any contrast and offset
(`homodyne_model.clustered_meat`).

A tile is as high (or as wide) as a block and long in the other direction, so that its sums belong to one block. The two kinds of
blocks take a pass each, through one loop: seen from the earlier frame time runs backwards, and the sums are the same
(`homodyne_model._normal_equations.Tile.backwards`). A second loop would be a second program, and what the compiler needs for it is more
than the pass does.
"""

from functools import partial

import jax
import jax.numpy as jnp

from homodyne_model._normal_equations import Pass, assemble
from homodyne_model._two_time_model import TwoTimeModel
from homodyne_model.errors import ModelError

# Most frames that the short side of a tile spans, pairs of a tile, and the most frames that its long side spans: longer, and too much of it
# lies beyond the diagonal.
_SHORT, _TILE_PAIRS, _LONGEST = 64, 4096, 128


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
    return _grams_by_frame(Pass.of(model, physical, c2, weights, first_row), min(block, model.n_t))


@partial(jax.jit, static_argnames="block")
def _grams_by_frame(data: Pass, block: int):
    n_rows, n_t = data.c2.shape[1:]
    n_blocks, n_parts = -(-n_t // block), -(-block // min(_SHORT, n_rows))
    # A stretch of frames is a block or a part of one.
    short, n_stretches = -(-block // n_parts), n_blocks * n_parts
    long = _long_side(short, n_rows)
    lying, standing = data.tiles(short, long), data.tiles(long, short)

    def of_stretch(k):
        """Sums over the pairs whose later (first half of k) or earlier frame lies in a stretch."""
        is_later, block_k, part = k < n_stretches, k % n_stretches // n_parts, k % n_parts
        begin = block_k * block + part * short
        end = jnp.minimum(begin + short, (block_k + 1) * block)
        row, end_row = begin - data.first_row, end - data.first_row

        def add_tile(tile, total):
            found = jax.tree.map(
                lambda later, earlier: jnp.where(is_later, later, earlier),
                lying(row, tile * long, end_row=end_row),
                standing(tile * long, begin, end_col=end).backwards(),
            )
            return jax.tree.map(jnp.add, total, data.sums(found))

        is_held = (row < n_rows) & (end_row > 0)
        first = jnp.where(is_later, 0, jnp.maximum(row, 0) // long)
        last = jnp.where(is_later, jnp.where(is_held, -(-(end - 1) // long), 0), -(-n_rows // long))
        return jax.lax.fori_loop(first, last, add_tile, data.no_sums(lying))

    sums = jax.lax.map(of_stretch, jnp.arange(2 * n_stretches))
    sums = jax.tree.map(lambda leaf: leaf.reshape(2, n_blocks, n_parts, *leaf.shape[1:]).sum(2), sums)
    grams = jax.vmap(jax.vmap(lambda one: assemble(data.model, data.physical, one)))(sums)
    return jnp.moveaxis(grams, 2, 0)


def _long_side(short: int, n: int) -> int:
    """Long side of tiles that cover n frames evenly; of whole stretches, so that tiles end where stretches do at the diagonal."""
    longest = max(1, min(_LONGEST, _TILE_PAIRS // short))
    even = -(-n // -(-n // longest))
    return min(n, -(-even // short) * short)
