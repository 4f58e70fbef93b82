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

# Frames a side of a tile, about. From 40 to 100 the pass is equally fast; below, the loop costs, above, the tile leaves the cache.
_TILE = 64


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
    d: jax.Array  # (3, n_phi, 3): d against f, 1, y
    scalars: jax.Array  # (n_phi, 3, 3): Gram matrix of f, 1, y
    ds: jax.Array | None = None
    ss: jax.Array | None = None
    s: jax.Array | None = None


class Tile(NamedTuple):
    """Pairs of some later with some earlier frames, all angles.

    Attributes
    ----------
    later, earlier : FrameVectors
        The frames.
    inside : Array, (n_later, n_earlier)
        Pairs of the tile.
    c2, weights : Array, (n_phi, n_later, n_earlier)
        As given, whether they count or not; weights may be None.
    """

    later: FrameVectors
    earlier: FrameVectors
    inside: jax.Array
    c2: jax.Array
    weights: jax.Array | None

    def backwards(self) -> "Tile":
        """The same pairs with time running backwards, so that the earlier frames take the place of the later ones.

        S counts from the other end then, and the derivative by x changes its sign with x: no sum over the pairs changes.
        """
        later, earlier = (
            v._replace(decay=-v.decay, decay_basis=-v.decay_basis) for v in (self.earlier, self.later)
        )
        return Tile(later, earlier, *jax.tree.map(lambda pairs: jnp.swapaxes(pairs, -1, -2), self[2:]))


def normal_equations(model: TwoTimeModel, physical, c2, weights=None, *, first_row=0):
    """Gram matrices of the columns ``[∂f/∂θ, f, 1, C2 - 1]``, one per angle, over the pairs with t1 > t2.

    Parameters
    ----------
    model : TwoTimeModel
        Geometry and choices.
    physical : array_like, (3,) or (7,)
        Physical parameters θ in their natural units.
    c2 : array_like, (n_phi, n_t, n_t) or (n_phi, n_rows, n_t)
        Two-time maps, or consecutive rows of them, float32 or float64. Only entries [a, i, j] with i > j count; entries that are not
        finite are masked.
    weights : array_like, shape of ``c2``, optional
        Weight of every entry, such as 1/σ²; finite, not negative, zero where masked. Left out, every entry weighs 1: weights that
        depend on the angle only are better multiplied to the result.
    first_row : int
        Frame of the first row that ``c2`` holds.

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
    return _gram_of_rows(Pass.of(model, physical, c2, weights, first_row))


class Pass(NamedTuple):
    """What a pass reads: a model at parameters, and rows of maps with their weights."""

    model: TwoTimeModel
    physical: jax.Array
    c2: jax.Array
    weights: jax.Array | None
    first_row: int | jax.Array
    vectors: FrameVectors

    @classmethod
    def of(cls, model: TwoTimeModel, physical, c2, weights, first_row) -> "Pass":
        """Arguments as given to `normal_equations`, checked."""
        n_rows = np.shape(c2)[1] if np.ndim(c2) == 3 else 0
        if (
            np.shape(c2) != (model.n_phi, n_rows, model.n_t)
            or not 0 < n_rows <= model.n_t - first_row
            or first_row < 0
        ):
            raise ModelError(
                f"c2 has shape {np.shape(c2)}, first_row is {first_row}; expected rows of maps of "
                f"{(model.n_phi, model.n_t, model.n_t)}, (n_phi, n_t, n_t) of the model."
            )
        if weights is not None and np.shape(weights) != np.shape(c2):
            raise ModelError(f"weights has shape {np.shape(weights)}; expected {np.shape(c2)} like c2.")
        if np.shape(physical) != (model.n_physical,):
            raise ModelError(f"physical has shape {np.shape(physical)}; expected ({model.n_physical},).")
        weights = None if weights is None else jnp.asarray(weights)
        physical = real_array(physical)
        vectors = _frame_vectors(model, physical)
        return cls(model, physical, jnp.asarray(c2), weights, first_row, vectors)

    def tiles(self, height: int, width: int):
        """The tiles of one size, as a function of where one begins and, optionally, ends.

        The function takes the first row and the first frame of the tile, and the row and the frame where it ends, by default
        behind the last. A tile that would stick out is moved back, and what it then holds beyond its limits is masked.
        """
        _, physical, c2, weights, first_row, vectors = self
        n_rows, n_t = c2.shape[1:]

        def tile(row, col, end_row=n_rows, end_col=n_t) -> Tile:
            i0, j0 = jnp.clip(row, 0, n_rows - height), jnp.clip(col, 0, n_t - width)
            i, j = i0 + jnp.arange(height), j0 + jnp.arange(width)
            inside = first_row + i[:, None] > j[None, :]
            inside = inside & ((i >= row) & (i < end_row))[:, None] & ((j >= col) & (j < end_col))[None, :]
            part = (0, i0, j0), (c2.shape[0], height, width)
            y = jax.lax.dynamic_slice(c2, *part)
            w = None if weights is None else jax.lax.dynamic_slice(weights, *part)
            later, earlier = vectors.frames(first_row + i0, height), vectors.frames(j0, width)
            return Tile(*_relative_to_slow_frame(physical, later, earlier), inside, y, w)

        return tile

    def sums(self, tile: Tile) -> PairSums:
        """Sums over a tile."""
        later, earlier, inside, c2, weights = tile
        dtype = self.physical.dtype
        keep, root = inside[None] & jnp.isfinite(c2), None
        if weights is not None:
            w = weights.astype(dtype)
            keep = keep & (w != 0)
            root = jnp.sqrt(jnp.where(keep, w, 0))
        y = jnp.where(keep, c2.astype(dtype) - 1, 0)
        phase = self.model.shear_phase(self.physical).scale if self.model.sheared else None
        return _sums_over_pairs(self.model, phase, later, earlier, keep, y, root)

    def no_sums(self, tiles) -> PairSums:
        """Zeros, to add the sums of tiles to."""
        shapes = jax.eval_shape(lambda: self.sums(tiles(0, 0)))
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


@jax.jit
def _gram_of_rows(data: Pass):
    """Gram matrices of the rows of the maps that a pass reads."""
    n_rows, n_t = data.c2.shape[1:]
    height, width = (-(-n // max(1, round(n / _TILE))) for n in (n_rows, n_t))
    tiles = data.tiles(height, width)

    def add_row_of_tiles(row, total):
        last_frame = data.first_row + jnp.minimum((row + 1) * height, n_rows) - 1
        add_tile = lambda col, total: jax.tree.map(  # noqa: E731
            jnp.add, total, data.sums(tiles(row * height, col * width))
        )
        return jax.lax.fori_loop(0, last_frame // width + 1, add_tile, total)

    total = jax.lax.fori_loop(0, -(-n_rows // height), add_row_of_tiles, data.no_sums(tiles))
    return assemble(data.model, data.physical, total)


@jax.jit
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


def _sums_over_pairs(model, phase, later: FrameVectors, earlier: FrameVectors, keep, y, root) -> PairSums:
    """Sums over a tile. Every column is zero where ``keep`` is not set; ``root`` is √w, or None for weights of 1."""
    # Outside the triangle the exponent has the wrong sign, and with a negative D(t) it may overflow at masked pairs too:
    # 0 · inf would poison the sums.
    exponent = -(model.q**2) * (later.decay[:, None] - earlier.decay[None, :])
    f = jnp.exp(jnp.where(keep.any(0), exponent, 0))[None]
    if model.sheared:
        shear, slope = _shear_factor(model, phase, later, earlier)
        v = jnp.where(keep, f * slope, 0)
        f = f * shear
    f = jnp.where(keep, f, 0)
    one = keep.astype(y.dtype)
    if root is not None:
        f, y, one = root * f, root * y, root
        v = root * v if model.sheared else None

    def against_one(column):
        return column if root is None else column * root

    decay = later.decay_basis, earlier.decay_basis
    by_f = _margins(f * f, against_one(f), f * y)
    ff, f1, fy = by_f.rows.sum(2)
    y1, yy, count = (field.sum((1, 2)) for field in (against_one(y), y * y, against_one(one)))
    sums = PairSums(
        _sum_products(f * f, by_f.of(0), *decay, *decay),
        _sum_differences(by_f, *decay),
        jnp.stack([ff, f1, fy, f1, count, y1, fy, y1, yy], axis=-1).reshape(-1, 3, 3),
    )
    if not model.sheared:
        return sums
    strain = later.strain_basis, earlier.strain_basis
    by_v, vv = _margins(f * v, against_one(v), v * y), _margins(v * v)
    return sums._replace(
        ds=_sum_products(f * v, by_v.of(0), *decay, *strain),
        ss=_sum_products(v * v, vv.of(0), *strain, *strain),
        s=_sum_differences(by_v, *strain),
    )


class _Margins(NamedTuple):
    """Sums of fields over the pairs, along rows (..., n_phi, n_later) and along columns (..., n_phi, n_earlier)."""

    rows: jax.Array
    cols: jax.Array

    def of(self, k: int) -> "_Margins":
        """Those of one field."""
        return _Margins(self.rows[k], self.cols[k])


def _margins(*fields) -> _Margins:
    return _Margins(
        jnp.stack([field.sum(2) for field in fields]), jnp.stack([field.sum(1) for field in fields])
    )


def _sum_differences(margins: _Margins, later, earlier):
    """Σ_ij M_ij (b_i - b_j) for every field, angle and basis vector, (n_fields, n_phi, k)."""
    return margins.rows @ later.T - margins.cols @ earlier.T


def _sum_products(field, margins: _Margins, later_a, earlier_a, later_b, earlier_b):
    """Σ_ij M_ij (a_i - a_j)(b_i - b_j) for every angle and pair of basis vectors, (n_phi, k_a, k_b)."""
    rows = jnp.einsum("ki,ai,li->akl", later_a, margins.rows, later_b)
    cols = jnp.einsum("kj,aj,lj->akl", earlier_a, margins.cols, earlier_b)
    mixed = jnp.einsum("ki,ail->akl", later_a, jnp.einsum("aij,lj->ail", field, earlier_b))
    mixed_back = jnp.einsum("aik,li->akl", jnp.einsum("aij,kj->aik", field, earlier_a), later_b)
    return rows + cols - mixed - mixed_back


def assemble(model: TwoTimeModel, physical, sums: PairSums):
    """Multiply in what depends on the angle only, and add φ0 as a combination of the strain columns."""
    n_phi = model.n_phi
    if not model.sheared:
        to_columns = jnp.broadcast_to(-(model.q**2) * jnp.eye(3, dtype=physical.dtype)[None], (n_phi, 3, 3))
        inner, outer = sums.dd, jnp.moveaxis(sums.d, 0, -1)
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
        outer = jnp.moveaxis(jnp.concatenate([sums.d, sums.s], axis=-1), 0, -1)
    theta = to_columns @ inner @ jnp.swapaxes(to_columns, 1, 2)
    mixed = to_columns @ outer
    return jnp.block([[theta, mixed], [jnp.swapaxes(mixed, 1, 2), sums.scalars]])
