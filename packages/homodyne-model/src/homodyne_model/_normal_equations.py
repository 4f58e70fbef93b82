"""One pass over a two-time map: the Gram matrix of every angle, from which everything else follows by small algebra.

For angle a the columns are ``[∂f/∂θ (n_physical), f, 1, y - 1]`` with f = g1² and y = C2, weighted by w. Nothing in their Gram
matrix depends on contrast or offset, and it adds up over any division of the points. (The baseline 1 of C2 is taken out of
y because sums of squares of a large constant would cancel in χ².)

What makes the pass cheap
-------------------------
*The integrals are vectors.* With S and Γ the cumulative integrals of D and γ̇ (`homodyne_model._transport`), and i > j,

    f = exp(-q² (S_i - S_j)) · K(x),    x = k_a (Γ_i - Γ_j),    K = [sin(x)/x]^(2p),

the exponential does not depend on the angle, and sin x = sin(k_a Γ_i) cos(k_a Γ_j) - cos(k_a Γ_i) sin(k_a Γ_j) needs no call
of sin at a point.

*Derivatives are a scalar field times a difference of vectors.* ∂f/∂θ_m = u (b_im - b_jm) with u = -q² f and b = ∂S/∂θ for the
diffusion parameters, u = k_a v, v = ∂f/∂x and b = ∂Γ/∂θ for the shear parameters. A product of two such columns, summed, is

    Σ_ij M_ij (b_im - b_jm)(b_in - b_jn) = Σ_i b_im b_in R_i + Σ_j b_jm b_jn C_j - b_mᵀ M b_n - b_nᵀ M b_m

with R and C the row and column sums of M = w f², w f v or w v², and products with f, 1 and y need the row and column sums
alone. φ0 needs no column of its own: Γ = γ̇0 ∂Γ/∂γ̇0 + γ̇_off ∂Γ/∂γ̇_off, and ∂f/∂φ0 = v k_a' (Γ_i - Γ_j).

*Tiles.* The lower triangle is walked in square tiles, all angles at once, so that everything between reading y and adding to
the sums stays in cache. Inside a tile the vectors b are counted from its slowest frame, which keeps the
differences of neighbouring frames exact to rounding where the correlation has not decayed.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from homodyne_model._shear_kernel import SERIES_BELOW, sinc_series, sinc_slope_series
from homodyne_model._transport import real_array
from homodyne_model._two_time_model import TwoTimeModel
from homodyne_model.errors import ModelError

# Frames a side of a tile. From 40 to 100 the pass is equally fast; below, the loop costs, above, the tile leaves the cache.
_TILE = 50


class FrameVectors(NamedTuple):
    """What the model is made of at single frames; a map entry combines two frames.

    Attributes
    ----------
    decay : Array, (n,)
        S, the integral of D [Å²].
    decay_basis : Array, (3, n)
        ∂S/∂(D0, alpha, D_offset).
    strain : Array, (n,)
        Γ, the integral of the shear rate. Absent (None), like what follows, without shear.
    strain_basis : Array, (3, n)
        ∂Γ/∂(gamma_dot_t0, beta, gamma_dot_t_offset).
    sine, cosine : Array, (n_phi, n)
        Of k_a Γ.
    """

    decay: jax.Array
    decay_basis: jax.Array
    strain: jax.Array | None = None
    strain_basis: jax.Array | None = None
    sine: jax.Array | None = None
    cosine: jax.Array | None = None

    def frames(self, start, count: int) -> "FrameVectors":
        """The vectors at ``count`` frames from ``start`` on."""
        return jax.tree.map(lambda v: jax.lax.dynamic_slice_in_dim(v, start, count, axis=-1), self)


def _relative_to_slow_frame(
    physical, later: FrameVectors, earlier: FrameVectors
) -> tuple[FrameVectors, FrameVectors]:
    """Count the bases of a tile from its slowest frame, so that differences of slow frames lose no digits.

    A negative exponent makes the last frame the slowest, otherwise it is the first (as in `rate_integral`).
    """

    def shifted(exponent, late, early):
        origin = jnp.where(exponent < 0, late[:, -1:], early[:, :1])
        return late - origin, early - origin

    late, early = shifted(physical[1], later.decay_basis, earlier.decay_basis)
    later, earlier = later._replace(decay_basis=late), earlier._replace(decay_basis=early)
    if later.strain is not None:
        late, early = shifted(physical[4], later.strain_basis, earlier.strain_basis)
        later, earlier = later._replace(strain_basis=late), earlier._replace(strain_basis=early)
    return later, earlier


class PairSums(NamedTuple):
    """Sums over pairs of frames, per angle, before the factors that depend on the angle alone are multiplied in.

    The two groups of derivatives are d = f · (difference of the decay basis) and s = v · (difference of the strain basis).
    """

    dd: jax.Array  # (n_phi, 3, 3)
    d_f: jax.Array  # (n_phi, 3): d against f, 1, y
    d_1: jax.Array
    d_y: jax.Array
    scalars: jax.Array  # (n_phi, 3, 3): Gram matrix of f, 1, y
    ds: jax.Array | None = None
    ss: jax.Array | None = None
    s_f: jax.Array | None = None
    s_1: jax.Array | None = None
    s_y: jax.Array | None = None


def normal_equations(model: TwoTimeModel, physical, c2, weights=None):
    """Gram matrices of the columns ``[∂f/∂θ, f, 1, C2 - 1]``, one per angle, over the pairs with t1 > t2.

    Parameters
    ----------
    model : TwoTimeModel
        Geometry and choices.
    physical : array_like, (3,) or (7,)
        Physical parameters θ in their natural units.
    c2 : array_like, (n_phi, n_t, n_t)
        Two-time maps, float32 or float64. Only entries [a, i, j] with i > j are read; entries that are not finite are masked.
    weights : array_like, (n_phi, n_t, n_t), optional
        Weight of every entry, such as 1/σ²; finite, not negative, zero where masked. Left out, every entry weighs 1: weights that
        depend on the angle only are better multiplied to the result.

    Returns
    -------
    Array, (n_phi, n_physical + 3, n_physical + 3)
        Symmetric. Sums are in the dtype of ``physical``, whatever that of ``c2``.

    Raises
    ------
    ModelError
        If shapes do not fit the model.

    Notes
    -----
    Additive: the sum over disjoint sets of points (by masks or weights) is the result for their union.

    Examples
    --------
    >>> import numpy as np
    >>> model = TwoTimeModel("static", q=0.005, t=np.arange(4) * 0.1, phi=[0.0, 90.0])
    >>> gram = normal_equations(model, np.array([1e3, 0.1, 0.0]), np.ones((2, 4, 4)))
    >>> gram.shape, float(gram[0, 4, 4])
    ((2, 6, 6), 6.0)
    """
    shape = (model.n_phi, model.n_t, model.n_t)
    if np.shape(c2) != shape:
        raise ModelError(f"c2 has shape {np.shape(c2)}; expected {shape}, (n_phi, n_t, n_t) of the model.")
    if weights is not None and np.shape(weights) != shape:
        raise ModelError(f"weights has shape {np.shape(weights)}; expected {shape} like c2.")
    if np.shape(physical) != (model.n_physical,):
        raise ModelError(f"physical has shape {np.shape(physical)}; expected ({model.n_physical},).")
    return _gram_of_maps(
        model, real_array(physical), jnp.asarray(c2), None if weights is None else jnp.asarray(weights)
    )


@jax.jit
def _gram_of_maps(model, physical, c2, weights):
    n_t, dtype = model.n_t, physical.dtype
    n_tiles = max(1, round(n_t / _TILE))
    tile = -(-n_t // n_tiles)
    vectors = _frame_vectors(model, physical)
    phase = model.shear_phase(physical).scale if model.sheared else None

    def tile_sums(row, col):
        # A last tile that would stick out is moved back; the frames it then shares with its neighbour are left to that one.
        i0, j0 = jnp.minimum(row * tile, n_t - tile), jnp.minimum(col * tile, n_t - tile)
        i, j = i0 + jnp.arange(tile), j0 + jnp.arange(tile)
        inside = ((i[:, None] > j[None, :]) & (i >= row * tile)[:, None] & (j >= col * tile)[None, :])[None]
        y = jax.lax.dynamic_slice(c2, (0, i0, j0), (c2.shape[0], tile, tile))
        keep = inside & jnp.isfinite(y)
        if weights is None:
            w = keep.astype(dtype)
        else:
            w = jax.lax.dynamic_slice(weights, (0, i0, j0), y.shape).astype(dtype)
            keep = keep & (w != 0)
            w = jnp.where(keep, w, 0)
        y = jnp.where(keep, y.astype(dtype) - 1, 0)
        later, earlier = _relative_to_slow_frame(physical, vectors.frames(i0, tile), vectors.frames(j0, tile))
        return _sums_over_pairs(model, phase, later, earlier, keep.any(0), y, w)

    rows, cols = np.tril_indices(n_tiles)
    corners = jnp.asarray(rows), jnp.asarray(cols)
    zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(tile_sums, 0, 0))
    sums, _ = jax.lax.scan(
        lambda total, corner: (jax.tree.map(jnp.add, total, tile_sums(*corner)), None), zero, corners
    )
    return _assemble(model, physical, sums)


def _frame_vectors(model: TwoTimeModel, physical) -> FrameVectors:
    diffusion = model.diffusion_integral(physical)
    if not model.sheared:
        return FrameVectors(*diffusion)
    strain = model.shear_integral(physical)
    angle = model.shear_phase(physical).scale[:, None] * strain.value[None]
    return FrameVectors(*diffusion, *strain, jnp.sin(angle), jnp.cos(angle))


def _shear_factor(model: TwoTimeModel, phase, later: FrameVectors, earlier: FrameVectors):
    """K = [sin(x)/x]^(2p) and dK/dx for every pair, (n_phi, n, n) each."""
    x = phase[:, None, None] * (later.strain[:, None] - earlier.strain[None, :])[None]
    sine = (
        later.sine[:, :, None] * earlier.cosine[:, None, :]
        - later.cosine[:, :, None] * earlier.sine[:, None, :]
    )
    cosine = (
        later.cosine[:, :, None] * earlier.cosine[:, None, :]
        + later.sine[:, :, None] * earlier.sine[:, None, :]
    )
    near = jnp.abs(x) < SERIES_BELOW
    x2 = jnp.where(near, x * x, 0)
    inverse = 1 / jnp.where(near, 1, x)
    sinc = jnp.where(near, sinc_series(x2), sine * inverse)
    slope = jnp.where(near, x * sinc_slope_series(x2), (cosine - sinc) * inverse)
    below = sinc ** (2 * model.kernel.power - 1)
    return below * sinc, 2 * model.kernel.power * below * slope


def _sums_over_pairs(model, phase, later: FrameVectors, earlier: FrameVectors, used, y, w) -> PairSums:
    # Outside the triangle the exponent has the wrong sign, and with a negative D(t) it may overflow at masked pairs too:
    # 0 · inf would poison the sums.
    exponent = -(model.q**2) * (later.decay[:, None] - earlier.decay[None, :])
    f = jnp.exp(jnp.where(used, exponent, 0))[None]
    if model.sheared:
        shear, slope = _shear_factor(model, phase, later, earlier)
        v = f * slope
        f = f * shear
    wf, wy = w * f, w * y
    decay = later.decay_basis, earlier.decay_basis

    def scalars(*products):
        return [p.sum((1, 2)) for p in products]

    ff, f1, fy, one, y1, yy = scalars(wf * f, wf, wf * y, w, wy, wy * y)
    gram = jnp.stack([ff, f1, fy, f1, one, y1, fy, y1, yy], axis=-1).reshape(-1, 3, 3)
    sums = PairSums(
        _sum_products(wf * f, *decay, *decay),
        _sum_differences(wf * f, *decay),
        _sum_differences(wf, *decay),
        _sum_differences(wf * y, *decay),
        gram,
    )
    if not model.sheared:
        return sums
    strain, wv = (later.strain_basis, earlier.strain_basis), w * v
    return sums._replace(
        ds=_sum_products(wf * v, *decay, *strain),
        ss=_sum_products(wv * v, *strain, *strain),
        s_f=_sum_differences(wv * f, *strain),
        s_1=_sum_differences(wv, *strain),
        s_y=_sum_differences(wv * y, *strain),
    )


def _sum_differences(m, later, earlier):
    """Σ_ij M_ij (b_i - b_j) for every angle and basis vector, (n_phi, k)."""
    return m.sum(2) @ later.T - m.sum(1) @ earlier.T


def _sum_products(m, later_a, earlier_a, later_b, earlier_b):
    """Σ_ij M_ij (a_i - a_j)(b_i - b_j) for every angle and pair of basis vectors, (n_phi, k_a, k_b)."""
    rows = jnp.einsum("ki,ai,li->akl", later_a, m.sum(2), later_b)
    cols = jnp.einsum("kj,aj,lj->akl", earlier_a, m.sum(1), earlier_b)
    mixed = jnp.einsum("ki,ail->akl", later_a, jnp.einsum("aij,lj->ail", m, earlier_b))
    mixed_back = jnp.einsum("aik,li->akl", jnp.einsum("aij,kj->aik", m, earlier_a), later_b)
    return rows + cols - mixed - mixed_back


def _assemble(model: TwoTimeModel, physical, sums: PairSums):
    """Multiply in what depends on the angle only, and add φ0 as a combination of the strain columns."""
    n_phi = model.n_phi
    if not model.sheared:
        to_columns = jnp.broadcast_to(-(model.q**2) * jnp.eye(3, dtype=physical.dtype)[None], (n_phi, 3, 3))
        inner, outer = sums.dd, jnp.stack([sums.d_f, sums.d_1, sums.d_y], axis=-1)
    else:
        phase = model.shear_phase(physical)
        strain_of_phi0 = jnp.stack([physical[3], jnp.zeros_like(physical[3]), physical[5]])
        to_columns = jnp.zeros((n_phi, 7, 6), physical.dtype)
        to_columns = to_columns.at[:, :3, :3].set(-(model.q**2) * jnp.eye(3, dtype=physical.dtype)[None])
        to_columns = to_columns.at[:, 3:6, 3:].set(
            phase.scale[:, None, None] * jnp.eye(3, dtype=physical.dtype)[None]
        )
        to_columns = to_columns.at[:, 6, 3:].set(phase.slope[:, None] * strain_of_phi0[None])
        inner = jnp.block([[sums.dd, sums.ds], [jnp.swapaxes(sums.ds, 1, 2), sums.ss]])
        outer = jnp.stack(
            [jnp.concatenate(pair, axis=1) for pair in zip(sums[1:4], sums[7:10], strict=True)], axis=-1
        )
    theta = to_columns @ inner @ jnp.swapaxes(to_columns, 1, 2)
    mixed = to_columns @ outer
    return jnp.block([[theta, mixed], [jnp.swapaxes(mixed, 1, 2), sums.scalars]])
