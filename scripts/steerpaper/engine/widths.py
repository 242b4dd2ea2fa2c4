"""The width that a row is padded to: it follows from the row's own length alone."""

STEP = 4
# a product of fewer rows (tokens) is summed in another order: from 2, 4 or 16 on, by the processor
LEAST = 16


def width_of(length: int) -> int:
    """The width that a row of `length` tokens is padded to: at most 3 more, or an eighth."""
    step = STEP
    while length > 16 * step:
        step *= 2
    return -(-length // step) * step


def columns_for(rows: int) -> int:
    """How many columns of so many rows make `LEAST` tokens."""
    return -(-LEAST // rows)
