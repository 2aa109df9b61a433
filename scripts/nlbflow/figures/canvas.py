"""What all figures share: pages measured in millimetres, and saving that gives the same bytes each time."""

import logging
import textwrap
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

# Widths of a journal's column and page.
COLUMN_MM, PAGE_MM = 85.0, 180.0
MM_PER_INCH = 25.4
POINTS_PER_MM = 72 / MM_PER_INCH
# Files without a date, so that their bytes repeat; png with less compression, which takes a third of the time.
OPTIONS = {
    "svg": {"metadata": {"Date": None}},
    "pdf": {"metadata": {"CreationDate": None}},
    "png": {"pil_kwargs": {"compress_level": 3}},
}
# fontTools, which embeds the fonts, would log every glyph.
logging.getLogger("fontTools").setLevel(logging.WARNING)
GREY, RULE = "#777777", "#BBBBBB"


def use_style(path: str | Path) -> None:
    """Draw every later figure in the style of a file, over matplotlib's defaults and not the user's settings."""
    mpl.rcdefaults()
    mpl.style.use(Path(path))


def page(width_mm: float, height_mm: float, title: str = "") -> Figure:
    """An empty figure with its title in the top 5 mm, at the left."""
    figure = Figure(figsize=(width_mm / MM_PER_INCH, height_mm / MM_PER_INCH))
    if title:
        write(figure, 1.5, 1.5, title, fontsize=mpl.rcParams["figure.titlesize"])
    return figure


def _size_mm(figure: Figure) -> tuple[float, float]:
    width, height = figure.get_size_inches()
    return width * MM_PER_INCH, height * MM_PER_INCH


def panel(figure: Figure, left: float, top: float, width: float, height: float, **settings) -> Axes:
    """Axes whose frame lies `left` and `top` mm from the page's top left corner; `settings` go to the axes."""
    across, down = _size_mm(figure)
    frame = (left / across, 1 - (top + height) / down, width / across, height / down)
    return figure.add_axes(frame, **settings)


def write(figure: Figure, left: float, top: float, text: str, **settings) -> None:
    """Write text whose top left corner lies `left` and `top` mm from the page's."""
    across, down = _size_mm(figure)
    figure.text(left / across, 1 - top / down, text, **{"va": "top", "ha": "left"} | settings)


def say(title: str, sentence: str) -> Figure:
    """A page that says why there is no figure."""
    lines = textwrap.wrap(sentence, 62)
    figure = page(COLUMN_MM, 8 + 3.6 * len(lines), title)
    write(figure, 1.5, 6, "\n".join(lines), color=GREY)
    return figure


def save(figure: Figure, paths: Mapping[str, Path]) -> None:
    """Write a figure to the path of each format."""
    for form, path in paths.items():
        figure.savefig(path, format=form, **OPTIONS[form])


def make_smaller(png: Path, colors: int = 128) -> None:
    """Rewrite a picture with fewer colours, in about a third of its bytes, for a page that embeds it."""
    with Image.open(png) as picture:
        few = picture.convert("RGB").quantize(colors, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(png, format="png", optimize=True)


def shortened(name: str, length: int) -> str:
    """A name of at most `length` letters; a longer one loses its middle."""
    if len(name) <= length:
        return name
    keep = length - 1
    return f"{name[: keep - keep // 2]}…{name[-(keep // 2) :]}"
