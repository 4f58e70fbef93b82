"""What to do about parameters that the data do not separate: which to fix, or which measurement would tell them apart.

The reasons are those of the model: D0 t^alpha and D_offset differ in their dependence on age alone, diffusion decays with q² and
shear with q, and an angle perpendicular to the flow does not see the shear.
"""

from collections.abc import Iterable, Mapping, Sequence

# Exponents closer to zero than this make the power law a constant to most data.
_NEARLY_CONSTANT = 0.05

_ONE_CONSTANT = (
    "{0} and {1} are the same constant where the rate does not depend on age, and no measurement of such a sample tells them apart: fix {1} = 0 "
    "and read {0} as the whole rate."
)

_DIFFUSION = {"D0", "alpha", "D_offset"}
_SHEAR = {"gamma_dot_t0", "beta", "gamma_dot_t_offset"}


def advice_on(
    groups: Iterable[Sequence[str]], values: Mapping[str, float], flat: Sequence[tuple[str, str]] = ()
) -> tuple[str, ...]:
    """Sentences about groups of parameters that are not separated, each once, in the order of the groups.

    Parameters
    ----------
    groups : iterable of sequences of str
        Names of parameters that take part in one weak combination.
    values : mapping of name to value
        Best values.
    flat : sequence of (amplitude, offset)
        Of rates that show no dependence on age.
    """
    said: dict[str, None] = {_ONE_CONSTANT.format(*pair): None for pair in flat}
    for group in groups:
        for sentence in _on_one(set(group), values):
            said[sentence] = None
    return tuple(said)


def _on_one(group: set[str], values) -> list[str]:
    said = []
    for amplitude, exponent, offset in (
        ("D0", "alpha", "D_offset"),
        ("gamma_dot_t0", "beta", "gamma_dot_t_offset"),
    ):
        law = f"{amplitude} t^{exponent}"
        if {amplitude, offset} <= group and abs(values.get(exponent, 1.0)) < _NEARLY_CONSTANT:
            said.append(_ONE_CONSTANT.format(amplitude, offset))
        elif {amplitude, offset} <= group or {exponent, offset} <= group:
            said.append(
                f"{law} and {offset} differ only in how they depend on age: fix {offset} (0 where nothing is known about it) or {exponent}, or "
                "measure over a larger range of ages, a longer window or one that begins earlier."
            )
        elif {amplitude, exponent} <= group:
            said.append(
                f"{amplitude} is the rate at 1 s and {exponent} its slope, which trade unless the window reaches far to both sides of 1 s: quote the "
                f"curve in the middle of the window, fix {exponent}, or measure over more decades of age."
            )
    if group & _DIFFUSION and group & _SHEAR:
        said.append(
            "Diffusion and shear are told apart by angles perpendicular to the flow, which see diffusion alone, and by a second q, as "
            "diffusion decays with q² and shear with q: add either, or fix what is known of one of them."
        )
    if "phi0" in group and group & _SHEAR:
        said.append(
            "The direction of the flow and its rate are told apart by angles on both sides of the flow and near its perpendicular: add "
            "angles, or fix phi0 where the geometry gives it."
        )
    if len(group) == 1:
        [name] = group
        said.append(
            f"Nothing in the data depends on {name} enough to determine it: fix it at a value known from elsewhere."
        )
    return said
