"""How a model is run: with what was computed before, or anew; many rows at a time, or one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class How:
    """What holds of a model, so that less need be computed; proved before it is used.

    Attributes:
        reuse: keys and values of earlier tokens can be used again. If not, whole rows are run anew
            (see `engine.replay`).
        gaps: masked columns may stand between the tokens of a row. Not where attention counts
            columns (a window).
        padding: rows of different lengths can run in one batch, masked columns behind the shorter
            ones. If not, every row runs by itself.
    """

    reuse: bool = True
    gaps: bool = True
    padding: bool = True

    @property
    def told(self) -> str:
        """In words, for the log and the report."""
        if not self.padding:
            return "one row at a time, every pass over the whole row"
        if not self.reuse:
            return "every pass over whole rows: what was computed before cannot be used again"
        if not self.gaps:
            return "with what each text begins with computed once, but nothing shared by all texts"
        return "with what texts begin with computed once"


# from fast to slow
WAYS = (How(), How(gaps=False), How(reuse=False), How(reuse=False, padding=False))
PLAIN = WAYS[-1]
