"""What a likelihood needs of the maps: three sums an angle, and their gradient in a second, equally cheap pass.

With contrast, offset and noise integrated out, a likelihood of f = g1² and y = C2 - 1 depends on the parameters through

    F = Σ w f,      F2 = Σ w f²,      Fy = Σ w f y

of every angle alone. Any function ℓ of these sums has the derivative

    ∂ℓ/∂θ = Σ_ij w_ij G_ij ∂f_ij/∂θ,      G = ∂ℓ/∂F + 2 f ∂ℓ/∂F2 + y ∂ℓ/∂Fy,

so that once ℓ's derivatives by the sums are known, the angles are added *before* anything is contracted with the vectors that ∂f/∂θ is
made of (`homodyne_model._normal_equations`): Σ_a G f for the diffusion, Σ_a k_a G v and Σ_a k_a' G v for the shear and its
direction, one field over pairs of frames each. That is reverse-mode differentiation with f computed again instead of kept: two passes in
which nothing larger than a tile is ever held. Measured on one core, 23 angles, 500 frames, laminar flow: 2.0 ns a pair for the sums, 5.7 with the
gradient (86 by automatic differentiation through the maps); without shear 1.3 and 2.0 (16).
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from homodyne_model._normal_equations import FrameVectors, _frame_vectors, _relative_to_slow_frame
from homodyne_model._transport import real_array
from homodyne_model._two_time_model import TwoTimeModel
from homodyne_model.errors import ModelError

# Points (angles × pairs) of a tile, about: less, and the loop costs; more, and the tile leaves the cache.
_TILE_POINTS = 40_000
_TILE_PAIRS = (1_000, 6_000)
# Below, sin(x)/x and its slope are series with an error under 1e-16; above, the closed form of the slope is good to 1e-13.
_SERIES_BELOW = 0.05


def pair_sums(model: TwoTimeModel, physical, c2, weights=None, *, frames=None):
    """Sums over pairs of frames that a likelihood with free contrast and offset depends on; differentiable by the parameters.

    Parameters
    ----------
    model : TwoTimeModel
        Geometry and choices.
    physical : array_like, (3,) or (7,)
        Physical parameters θ in their natural units.
    c2 : array_like, (n_phi, n_rows, n_t)
        Rows of two-time maps, float32 or float64. Entries [a, r, j] with ``frames[r] > j`` count where they are finite.
    weights : array_like, shape of ``c2``, optional
        Weight of every entry, such as 1/σ²; finite, not negative, zero where masked. Left out, every entry weighs 1.
    frames : array_like of int, (n_rows,), optional
        Frame of every row, not decreasing; by default 0, 1, 2 and so on. Every K-th row of the maps is a share of the data that knows all ages
        and lags.

    Returns
    -------
    Array, (n_phi, 3)
        Σ w f, Σ w f² and Σ w f (C2 - 1) with f = g1², in the dtype of ``physical``.

    Raises
    ------
    ModelError
        If shapes do not fit the model.

    Notes
    -----
    Additive over disjoint sets of points. Reverse-mode derivatives by ``physical`` are exact and cost one more pass; everything else is taken
    for constant.

    Examples
    --------
    >>> import numpy as np
    >>> model = TwoTimeModel("static", q=0.005, t=np.arange(4) * 0.1, phi=[0.0, 90.0])
    >>> maps, physical = np.ones((2, 4, 4)), np.array([0.0, 0.1, 0.0])
    >>> pair_sums(model, physical, maps)[0].tolist()
    [6.0, 6.0, 0.0]
    >>> pair_sums(model, physical, maps[:, 1::2], frames=[1, 3])[0].tolist()
    [4.0, 4.0, 0.0]
    """
    n_rows = np.shape(c2)[1] if np.ndim(c2) == 3 else 0
    if n_rows < 1 or np.shape(c2) != (model.n_phi, n_rows, model.n_t):
        raise ModelError(
            f"c2 has shape {np.shape(c2)}; expected rows of maps, ({model.n_phi}, n_rows, {model.n_t}), (n_phi, n_rows, n_t) of the model."
        )
    if weights is not None and np.shape(weights) != np.shape(c2):
        raise ModelError(f"weights has shape {np.shape(weights)}; expected {np.shape(c2)} like c2.")
    if np.shape(physical) != (model.n_physical,):
        raise ModelError(f"physical has shape {np.shape(physical)}; expected ({model.n_physical},).")
    if frames is None:
        frames = np.arange(n_rows)
    if np.shape(frames) != (n_rows,):
        raise ModelError(
            f"frames has shape {np.shape(frames)}; expected ({n_rows},), one for every row of c2."
        )
    weights = None if weights is None else jnp.asarray(weights)
    return _sums(real_array(physical), model, jnp.asarray(c2), weights, jnp.asarray(frames).astype(int))


@jax.custom_vjp
def _sums(physical, model, c2, weights, frames):
    return _sums_of_rows(physical, model, c2, weights, frames)


def _sums_forward(physical, model, c2, weights, frames):
    return _sums_of_rows(physical, model, c2, weights, frames), (physical, model, c2, weights, frames)


def _sums_backward(kept, cotangent):
    return _gradient_of_rows(*kept, cotangent), None, None, None, None


_sums.defvjp(_sums_forward, _sums_backward)


@jax.jit
def _sums_of_rows(physical, model, c2, weights, frames):
    return _over_tiles(physical, model, c2, weights, frames, partial(_tile_sums, model))


@jax.jit
def _gradient_of_rows(physical, model, c2, weights, frames, cotangent):
    """Σ_a cotangent[a] · ∂sums[a]/∂θ."""
    found = _over_tiles(physical, model, c2, weights, frames, partial(_tile_gradient, model, cotangent))
    by_diffusion = -(model.q**2) * found[0]
    return jnp.concatenate([by_diffusion, found[1], found[2][None]]) if model.sheared else by_diffusion


def _tile_shape(n_phi: int, n_rows: int, n_t: int) -> tuple[int, int]:
    """Rows and frames of a tile whose sides span about the same time, so that few tiles stick out of the triangle."""
    pairs = min(max(_TILE_POINTS // n_phi, _TILE_PAIRS[0]), _TILE_PAIRS[1])
    height = (pairs * n_rows / n_t) ** 0.5
    height = -(-n_rows // max(1, round(n_rows / height)))
    width = -(-n_t // max(1, round(n_t * height / pairs)))
    return height, width


def _over_tiles(physical, model, c2, weights, frames, of_tile):
    """Sum of ``of_tile`` over the tiles that hold a pair of the triangle."""
    (n_phi, n_rows, n_t), dtype = c2.shape, physical.dtype
    height, width = _tile_shape(n_phi, n_rows, n_t)
    vectors = _frame_vectors(model, physical)
    later_vectors = jax.tree.map(lambda v: v[..., frames], vectors)
    phase = model.shear_phase(physical) if model.sheared else None

    def tile(row, col):
        # A tile that would stick out is moved back; what it then repeats is left out.
        i0, j0 = jnp.minimum(row, n_rows - height), jnp.minimum(col, n_t - width)
        rows, columns = i0 + jnp.arange(height), j0 + jnp.arange(width)
        later = jax.lax.dynamic_slice(frames, (i0,), (height,))
        inside = (later[:, None] > columns[None]) & (rows >= row)[:, None] & (columns >= col)[None]
        y = jax.lax.dynamic_slice(c2, (0, i0, j0), (n_phi, height, width))
        keep, w = jnp.isfinite(y), None
        if weights is not None:
            w = jax.lax.dynamic_slice(weights, (0, i0, j0), y.shape).astype(dtype)
            keep = keep & (w != 0)
        pairs = _relative_to_slow_frame(physical, later_vectors.frames(i0, height), vectors.frames(j0, width))
        # Where there is one tile, XLA would compute the sines and powers of a frame anew for every pair: ten times as slow.
        pairs = jax.lax.optimization_barrier(pairs)
        return of_tile(phase, *pairs, inside, keep, jnp.where(keep, y.astype(dtype) - 1, 0), w)

    def add_row_of_tiles(r, total):
        last = frames[jnp.minimum((r + 1) * height, n_rows) - 1]
        add = lambda c, total: jax.tree.map(jnp.add, total, tile(r * height, c * width))  # noqa: E731
        return jax.lax.fori_loop(0, last // width + 1, add, total)

    zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(tile, 0, 0))
    return jax.lax.fori_loop(0, -(-n_rows // height), add_row_of_tiles, zero)


def _decay(model: TwoTimeModel, later: FrameVectors, earlier: FrameVectors, inside):
    """exp(-q² ΔS) where a pair counts, else 0, (height, width)."""
    exponent = -(model.q**2) * (later.decay[:, None] - earlier.decay[None])
    # Outside the triangle the exponent has the wrong sign and may overflow: 0 · inf would poison the sums.
    return jnp.where(inside, jnp.exp(jnp.where(inside, exponent, 0)), 0)


def _sinc(phase, later: FrameVectors, earlier: FrameVectors):
    """x, where it is small, 1/x and sin(x)/x for every pair, (n_phi, height, width) each."""
    x = phase.scale[:, None, None] * (later.strain[:, None] - earlier.strain[None])[None]
    sine = later.sine[:, :, None] * earlier.cosine[:, None] - later.cosine[:, :, None] * earlier.sine[:, None]
    near = jnp.abs(x) < _SERIES_BELOW
    inverse = 1 / jnp.where(near, 1, x)
    x2 = x * x
    return x, near, inverse, jnp.where(near, 1 + x2 * (-1 / 6 + x2 * (1 / 120 - x2 / 5040)), sine * inverse)


def _tile_sums(model, phase, later, earlier, inside, keep, y, w):
    decay = _decay(model, later, earlier, inside)[None]
    if model.sheared:
        decay = decay * _sinc(phase, later, earlier)[3] ** (2 * model.kernel.power)
    f = jnp.where(keep, decay, 0)
    wf = f if w is None else w * f
    return jnp.stack([wf.sum((1, 2)), (wf * f).sum((1, 2)), (wf * y).sum((1, 2))], axis=-1)


def _tile_gradient(model, cotangent, phase, later, earlier, inside, keep, y, w):
    """Derivatives by the decay basis, by the strain basis and by φ0."""
    decay = _decay(model, later, earlier, inside)[None]
    # A masked pair has weight 0 in everything that is summed; f only decides how much the others count.
    weight = keep.astype(decay.dtype) if w is None else jnp.where(keep, w, 0)
    by_f, by_f2, by_fy = cotangent.T[:, :, None, None]
    if not model.sheared:
        field = ((by_f + 2 * by_f2 * decay + by_fy * y) * weight).sum(0) * decay[0]
        return (_contract(field, later.decay_basis, earlier.decay_basis),)
    power = model.kernel.power
    x, near, inverse, sinc = _sinc(phase, later, earlier)
    cosine = (
        later.cosine[:, :, None] * earlier.cosine[:, None] + later.sine[:, :, None] * earlier.sine[:, None]
    )
    x2 = x * x
    series = x * (-1 / 3 + x2 * (1 / 30 + x2 * (-1 / 840 + x2 / 45360)))
    slope = jnp.where(near, series, (cosine - sinc) * inverse)
    below = decay * sinc ** (2 * power - 1)
    weighted = (by_f + 2 * by_f2 * below * sinc + by_fy * y) * weight * below
    by_x = weighted * (2 * power) * slope
    along = (phase.scale[:, None, None] * by_x).sum(0)
    across = (phase.slope[:, None, None] * by_x).sum(0)
    strain = later.strain[:, None] - earlier.strain[None]
    return (
        _contract((weighted * sinc).sum(0), later.decay_basis, earlier.decay_basis),
        _contract(along, later.strain_basis, earlier.strain_basis),
        (across * strain).sum(),
    )


def _contract(field, later, earlier):
    """Σ_ij M_ij (b_i - b_j) for every basis vector, (k,)."""
    return later @ field.sum(1) - earlier @ field.sum(0)
