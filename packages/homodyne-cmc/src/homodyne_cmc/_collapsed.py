"""The likelihood with contrast, offset and noise integrated out, and their exact draws afterwards.

Per angle the data enter through W = Σ w, Y = Σ w y, Y2 = Σ w y² (y = C2 - 1), which are constants, and F = Σ w f, F2 = Σ w f²,
Fy = Σ w f y (`homodyne_model.pair_sums`). With flat priors on contrast, offset and log σ, N points and P angles,

    log p(θ | y) = -½ (N - 2P) log Σ_a RSS_a - ½ Σ_a log D_a,       D = W F2 - F²,

or -½ Σ_a RSS_a - ½ Σ_a log D_a where σ is known, or with RSS and N of every angle apart where each has a σ of its own. A shard has the
share 1/K of the prior of the scaling: there the volume term ½ log D, and the two parameters of an angle that are counted off N, have the factor
1/K, else the volume would count K times in the product of the shards.

Where contrast and offset follow a basis B of the angles (one value for all, a Fourier series), D becomes the determinant of the normal
matrix of its coefficients and the RSS is that of their best values.
"""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Moments:
    """What a set of points contributes that no parameter changes; adds up over sets.

    Attributes
    ----------
    sums : (n_phi, 3)
        Σ w, Σ w y, Σ w y² with y = C2 - 1.
    constant : (n_phi,)
        Part of Σ w r² that no model changes (two measurements of one pair scatter about their mean).
    n_points : (n_phi,)
        Points.
    """

    sums: jax.Array
    constant: jax.Array
    n_points: jax.Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Collapsed:
    """How contrast, offset and σ are integrated out.

    Parameters
    ----------
    noise : {"given", "global", "per_angle"}
        σ is known, one factor of all σ is unknown, or one for every angle.
    basis : (n_phi, n_coef) or None
        How contrast and offset vary with the angle; None gives every angle its own.
    """

    noise: str = field(metadata={"static": True})
    basis: jax.Array | None

    def log_likelihood(self, sums, moments: Moments, share):
        """Log likelihood of the sums of a shard, up to a constant.

        Parameters
        ----------
        sums : (n_phi, 3)
            From `homodyne_model.pair_sums`.
        moments : Moments
            Of the same points.
        share : float
            1/K of a shard, 1 of all the data.
        """
        if self.basis is not None:
            residual, log_volume, n_coef = self._coupled(sums, moments)
            if self.noise == "given":
                return -0.5 * residual - 0.5 * share * log_volume
            free = moments.n_points.sum() - 2 * n_coef * share
            return -0.5 * free * jnp.log(residual) - 0.5 * share * log_volume
        w, y1, yy = moments.sums.T
        f1, ff, fy = sums.T
        # A shard may lack an angle; the certificate sees every point of it.
        used = moments.n_points > 2
        w = jnp.where(used, w, 1.0)
        s_ff = jnp.where(used, ff - f1**2 / w, 1.0)
        s_fy = fy - f1 * y1 / w
        residual = jnp.where(used, yy - y1**2 / w + moments.constant - s_fy**2 / s_ff, 0.0)
        log_volume = jnp.where(used, jnp.log(w * s_ff), 0.0).sum()
        if self.noise == "given":
            return -0.5 * residual.sum() - 0.5 * share * log_volume
        n = jnp.where(used, moments.n_points, 0)
        if self.noise == "global":
            free = n.sum() - 2 * share * used.sum()
            return -0.5 * free * jnp.log(residual.sum()) - 0.5 * share * log_volume
        log_residual = jnp.log(jnp.where(used, residual, 1.0))
        return -0.5 * ((n - 2 * share) * log_residual).sum() - 0.5 * share * log_volume

    def _coupled(self, sums, moments: Moments):
        b = jnp.asarray(self.basis)
        w, y1, yy = moments.sums.T
        f1, ff, fy = sums.T
        block = lambda weight: b.T @ (weight[:, None] * b)  # noqa: E731
        normal = jnp.block([[block(ff), block(f1)], [block(f1), block(w)]])
        right = jnp.concatenate([b.T @ fy, b.T @ y1])
        scale = jnp.sqrt(jnp.diagonal(normal))
        root = jnp.linalg.cholesky(normal / scale[:, None] / scale[None])
        z = jax.scipy.linalg.solve_triangular(root, right / scale, lower=True)
        log_volume = 2 * (jnp.log(jnp.diagonal(root)).sum() + jnp.log(scale).sum())
        return yy.sum() + moments.constant.sum() - z @ z, log_volume, b.shape[1]

    def redraw(self, sums, moments: Moments, rng: np.random.Generator):
        """Exact draws of contrast, offset and σ for given physical parameters.

        Parameters
        ----------
        sums : (n_draws, n_phi, 3)
            Sums over all the data at every draw.
        moments : Moments
            Of all the data.
        rng : numpy.random.Generator

        Returns
        -------
        contrast, offset : (n_draws, n_phi)
        noise : (n_draws, n_phi)
            Factor of the noise that went into the weights; ones where σ is given.
        """
        n_draws, n_phi = sums.shape[:2]
        groups = [[a] for a in range(n_phi)] if self.basis is None else [list(range(n_phi))]
        contrast, offset = np.empty((2, n_draws, n_phi))
        residual = np.empty((n_draws, len(groups)))
        spread = []
        data, constant = np.asarray(moments.sums), np.asarray(moments.constant)
        for g, angles in enumerate(groups):
            b = np.ones((1, 1)) if self.basis is None else np.asarray(self.basis)
            f1, ff, fy = np.moveaxis(sums[:, angles], -1, 0)
            w, y1, yy = (np.broadcast_to(column, f1.shape) for column in data[angles].T)
            outer = b[:, :, None] * b[:, None, :]
            block = lambda weight, outer=outer: np.tensordot(weight, outer, axes=(1, 0))  # noqa: E731
            normal = np.block([[block(ff), block(f1)], [block(f1), block(w)]])
            right = np.concatenate([fy @ b, y1 @ b], axis=1)
            best = np.linalg.solve(normal, right[..., None])[..., 0]
            residual[:, g] = yy.sum(1) + constant[angles].sum() - (best * right).sum(1)
            root = np.linalg.cholesky(np.linalg.inv(normal))
            unit = (root @ rng.standard_normal(best.shape)[..., None])[..., 0]
            spread.append((angles, b, best, unit))
        if self.noise == "given":
            factor = np.ones((n_draws, n_phi))
        else:
            points = np.asarray(moments.n_points)
            if self.noise == "global":
                residual = residual.sum(1, keepdims=True)
                free = np.array([points.sum() - sum(best.shape[1] for _, _, best, _ in spread)])
            else:
                free = points - 2
            drawn = np.sqrt(residual / rng.chisquare(free, residual.shape))
            factor = np.broadcast_to(drawn, (n_draws, n_phi)).copy()
        for angles, b, best, unit in spread:
            # Coupled angles share one σ (`per_angle` needs a scaling of its own at every angle).
            values = best + factor[:, angles[0], None] * unit
            n_coef = b.shape[1]
            contrast[:, angles] = values[:, :n_coef] @ b.T
            offset[:, angles] = values[:, n_coef:] @ b.T + 1.0
        return contrast, offset, factor
