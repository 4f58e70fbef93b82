"""Coordinates in which a posterior of two-time maps is close to normal.

A rate r(t) = r0 t^p + r_offset is described, at a time t_ref, by

    log |J|,   J = r0 t_ref^p + r_offset      the total rate
    s = d log r / d log t = p r0 t_ref^p / J  its logarithmic slope
    y, softplus(y) = u / c,                   how much of it the power law is,
    u = |J| / (r0 t_ref^p)                    inverted

with p = ± s u, r0 = |J| t_ref^-p / u, r_offset = |J| (± 1 - 1 / u), where ± is the sign of J, and

    |∂(r0, p, r_offset) / ∂(log |J|, s, log u)| = J² t_ref^-p.

Data determine J and s well; u is what they may leave open (where s → 0 the offset has no effect). Needed are r0 > 0, hence u > 0, and a J that does
not change its sign over the posterior. The direction of the flow stays as it is [deg]; it is free inside, and reported in [-90, 90).

Two numbers are chosen for the posterior at hand.

t_ref: where log r(t) is known best, log |J| and s are uncorrelated, since d Var(log r) / d log t = 2 Cov(log r, s); away from there they are
correlated and the posterior is bent like a banana. Measured, 6 angles x 100² points of a sheared colloid: at √(dt · t_max) = 1 s, the usual choice,
the log posterior of the shear rate differs from its normal approximation by 16 (rms over its draws), at 5 s by 0.4.

c: where data know u they know the exponent p = s u, in which the posterior is normal, and so it is in u; where they do not, the prior is flat in
log u. y is linear in u where u exceeds c and logarithmic below, so c is the standard deviation of u. Measured on the shear rate of the same colloid
with noise 0.02 (it has sd / u = 0.2): skewness 0.9 and a 0.1 % quantile of 4.6 sd in log u, 0.0 and 3.1 sd in u. Weights of draws that
are normal in log u undervalued the tail of gamma_dot_t0: its sd was 0.8 to 0.93 of the true one, with k-hat 0.2 to 0.6.

Parameters that are held leave fewer coordinates: log |J| and y where the exponent is held; log P, P = r0 t_ref^p, and p where the offset is;
log P where both are.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

# Limits of c in units of u: below, y is linear all the same; above, logarithmic.
_NARROWEST_SHARE, _WIDEST_SHARE = 0.02, 1e5


# The times are data: another one needs no other program.
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PosteriorCoordinates:
    """Coordinates v (..., d) of the physical parameters θ, (..., 3) or (..., 7), of which d are free.

    Parameters
    ----------
    t_refs : tuple of float
        Time that every rate is described at [s]: D(t), and the shear rate where there is one.
    signs : tuple of float
        Sign of the rates there.
    widths : tuple of float
        Width c of the inverted share of every rate, about which it changes from linear to logarithmic.
    held : tuple of float or None
        Value of every physical parameter that is held; D0 and gamma_dot_t0 cannot be.
    """

    t_refs: tuple[float, ...]
    signs: tuple[float, ...]
    widths: tuple[float, ...]
    held: tuple[float | None, ...]

    @classmethod
    def about(cls, physical, t_refs, held=None) -> "PosteriorCoordinates":
        """The coordinates that can describe a physical vector, before its covariance is known: logarithmic in the share."""
        # The rates there, and the shares of their power laws, inverted.
        totals = [r0 * t**p + offset for (r0, p, offset), t in zip(_rates(physical), t_refs, strict=True)]
        powers = [r0 * t**p for (r0, p, _), t in zip(_rates(physical), t_refs, strict=True)]
        widths = (_WIDEST_SHARE * abs(total / power) for total, power in zip(totals, powers, strict=True))
        held = (None,) * len(physical) if held is None else tuple(held)
        return cls(
            tuple(float(t) for t in t_refs),
            tuple(map(float, np.sign(totals))),
            tuple(map(float, widths)),
            held,
        )

    @classmethod
    def suited_to(cls, physical, covariance, times, held=None) -> "PosteriorCoordinates":
        """The coordinates in which a posterior about a physical vector is close to normal.

        Parameters
        ----------
        physical : (n,)
        covariance : (n, n)
            Of the physical parameters; zero where they are held.
        times : (n_times,)
            Positive times to choose from [s].
        held : sequence of float or None, optional
        """
        found = cls.about(physical, (1.0,) * (len(physical) // 3), held)
        t_refs = best_known_times(physical, covariance, times, found.held)
        widths = []
        for k, ((r0, p, offset), t) in enumerate(zip(_rates(physical), t_refs, strict=True)):
            power = r0 * t**p
            by_share = np.array([-offset / (power * r0), -offset / power * np.log(t), 1 / power])
            block = covariance[3 * k : 3 * k + 3, 3 * k : 3 * k + 3]
            share = abs(1 + offset / power)
            widths.append(
                float(
                    np.clip(
                        np.sqrt(by_share @ block @ by_share), _NARROWEST_SHARE * share, _WIDEST_SHARE * share
                    )
                )
            )
        return replace(cls.about(physical, t_refs, held), widths=tuple(widths))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the coordinates."""
        found = [
            f"log_{rate}_ref" if kind == "log" else f"{kind}_{rate}"
            for (exponent, offset), rate in zip(self._held_of_rates(), ("D", "rate"), strict=False)
            for kind in _KINDS[exponent is not None, offset is not None]
        ]
        return (*found, "phi0") if len(self.signs) == 2 and self.held[6] is None else tuple(found)

    @property
    def free(self) -> np.ndarray:
        """Which physical parameters are free, (n,) bool."""
        return np.array([value is None for value in self.held])

    def to_natural(self, v):
        """Physical parameters (..., n) at coordinates (..., d)."""
        parts, log_j = [], None
        for own, t, sign, width, (exponent, offset) in self._each(v):
            log_j = own[0]
            size = jnp.exp(log_j)
            if offset is not None:
                exponent = own[1] if exponent is None else exponent
                parts += [size * t**-exponent, exponent, offset]
                continue
            share = width * jax.nn.softplus(own[-1])
            exponent = sign * own[1] * share if exponent is None else exponent
            parts += [size / share * t**-exponent, exponent, size * (sign - 1 / share)]
        if len(self.signs) == 2:
            parts.append(v[..., -1] if self.held[6] is None else self.held[6])
        return jnp.stack([jnp.broadcast_to(part, log_j.shape) for part in parts], axis=-1)

    def from_natural(self, physical):
        """Coordinates (..., d) of physical parameters (..., n); NaN where they have none. Held ones are taken to have their values."""
        parts = []
        for k, (t, sign, width, (held_exponent, held_offset)) in enumerate(self._rates()):
            r0, exponent, offset = (physical[..., 3 * k + m] for m in range(3))
            power = r0 * t**exponent
            if held_offset is not None:
                parts += [jnp.log(power), *([exponent] if held_exponent is None else [])]
                continue
            total = sign * (power + offset)
            inverted = total / power / width
            # log(exp(x) - 1) without overflow.
            y = inverted + jnp.log(-jnp.expm1(-inverted))
            slope = [sign * exponent * power / total] if held_exponent is None else []
            parts += [jnp.log(total), *slope, y]
        if len(self.signs) == 2 and self.held[6] is None:
            parts.append(physical[..., 6])
        return jnp.stack(parts, axis=-1)

    def log_jacobian(self, v):
        """Log |∂θ/∂v| of the free parameters, (...)."""
        total = 0.0
        for own, t, sign, width, (exponent, offset) in self._each(v):
            log_j = own[0]
            if offset is not None:
                # r0 by log P; p is its own.
                total = total + log_j - (own[1] if exponent is None else exponent) * jnp.log(t)
                continue
            share = width * jax.nn.softplus(own[-1])
            # d log u / dy = c logistic(y) / u.
            by_share = jnp.log(width) + jax.nn.log_sigmoid(own[-1]) - jnp.log(share)
            if exponent is None:
                # J² t_ref^-p.
                total = total + 2 * log_j - sign * own[1] * share * jnp.log(t) + by_share
            else:
                # r0 |J|.
                total = total + 2 * log_j - jnp.log(share) - exponent * jnp.log(t) + by_share
        return total

    def _held_of_rates(self) -> list:
        """Held exponent and offset of every rate."""
        return [self.held[3 * k + 1 : 3 * k + 3] for k in range(len(self.signs))]

    def _rates(self):
        return zip(self.t_refs, self.signs, self.widths, self._held_of_rates(), strict=True)

    def _each(self, v):
        """Own coordinates of every rate, and what belongs to it."""
        first = 0
        for t, sign, width, held in self._rates():
            count = 3 - sum(value is not None for value in held)
            yield [v[..., first + m] for m in range(count)], t, sign, width, held
            first += count

    def tangent(self, v):
        """∂θ/∂v, (n, d), at one point (d,); rows of held parameters are zero."""
        return jax.jacfwd(self.to_natural)(jnp.asarray(v))


# Kinds of the coordinates of a rate by whether its exponent and its offset are held.
_KINDS = {
    (False, False): ("log", "slope", "share"),
    (False, True): ("log", "exponent"),
    (True, False): ("log", "share"),
    (True, True): ("log",),
}


def best_known_times(physical, covariance, times, held) -> tuple[float, ...]:
    """Times at which the rates are known best in relation to their size; their power laws where the offset is held.

    Parameters
    ----------
    physical : (n,)
    covariance : (n, n)
        Of the physical parameters.
    times : (n_times,)
        Positive times to choose from [s].
    held : sequence of float or None
        Values of the parameters that are held, (n,).
    """
    found = []
    for k, (r0, p, offset) in enumerate(_rates(physical)):
        power = times**p
        by_rate = np.stack([power, r0 * power * np.log(times), np.ones_like(times)])
        block = covariance[3 * k : 3 * k + 3, 3 * k : 3 * k + 3]
        variance = np.einsum("it,ij,jt->t", by_rate, block, by_rate)
        size = r0 * power + (offset if held[3 * k + 2] is None else 0.0)
        with np.errstate(divide="ignore"):
            found.append(float(times[np.argmin(variance / size**2)]))
    return tuple(found)


def _rates(physical) -> list:
    """Rate at 1 s, exponent and offset of every rate."""
    return [physical[k : k + 3] for k in range(0, len(physical) - 1, 3)]


def wrapped_direction(phi0):
    """The direction of the flow in [-90, 90) [deg]."""
    return (np.asarray(phi0) + 90.0) % 180.0 - 90.0
