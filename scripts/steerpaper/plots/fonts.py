"""The fonts of figures: matplotlib's own, whatever fonts the machine has."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.font_manager import FontManager


def own_fonts_first(fonts: FontManager) -> None:
    """Have matplotlib's own fonts found before others of their names.

    Which fonts there are is noted in the user's folder, for every matplotlib of a version: one that
    found none of its own there would leave the system's to this one, with other bytes in a PDF, and
    maybe letters of other widths.
    """
    own = Path(mpl.get_data_path(), "fonts/ttf")
    known = {font.fname for font in fonts.ttflist}
    for path in sorted(own.glob("*.ttf")):
        if str(path) not in known:
            fonts.addfont(path)
    fonts.ttflist.sort(key=lambda font: Path(font.fname).parent != own)
