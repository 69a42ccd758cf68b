"""How far a stack of residual blocks looks, by its dilations alone."""

from typing import NamedTuple


class Reach(NamedTuple):
    """How many steps ``before`` a step and ``after`` it can change it."""

    before: int
    after: int


def looks_ahead(dilations: tuple[int, ...], look_ahead: int | None) -> list[int]:
    """How far each block of a stack looks ahead: ``look_ahead`` in all, taken by the first; None: as far as back."""
    if look_ahead is None:
        return list(dilations)
    shares = []
    for dilation in dilations:
        shares.append(min(dilation, look_ahead))
        look_ahead -= shares[-1]
    return shares


def reach_of(dilations: tuple[int, ...], look_ahead: int | None) -> Reach:
    """The reach of a stack of residual blocks, each of kernel 3."""
    after = sum(looks_ahead(dilations, look_ahead))
    return Reach(2 * sum(dilations) - after, after)
