"""The width that a row is padded to: it follows from the row's own length alone."""

# products of fewer rows are summed in another order
LEAST = 4


def width_of(length: int) -> int:
    """The width that a row of `length` tokens is padded to: at most 3 more, or an eighth."""
    step = LEAST
    while length > 16 * step:
        step *= 2
    return -(-length // step) * step
