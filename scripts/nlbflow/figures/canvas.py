"""What all figures share: pages measured in millimetres, names of files, saving that gives the same bytes each time."""

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
# What a file says of its making, but for the date; and png packed with less effort, which takes a third of the time.
OPTIONS = {
    "svg": {"metadata": {"Date": None}},
    "pdf": {"metadata": {"CreationDate": None}},
    "png": {"pil_kwargs": {"compress_level": 3}},
}
# Whoever embeds the fonts tells of every glyph, in the job's log too.
logging.getLogger("fontTools").setLevel(logging.WARNING)
GREY, RULE = "#777777", "#BBBBBB"


def use_style(path: str | Path) -> None:
    """Draw all that follows in the style of a file, over matplotlib's defaults whatever the user's own settings are."""
    mpl.rcdefaults()
    mpl.style.use(Path(path))


def page(width_mm: float, height_mm: float, title: str = "") -> Figure:
    """An empty figure; its title stands at the top left, within 5 mm."""
    figure = Figure(figsize=(width_mm / MM_PER_INCH, height_mm / MM_PER_INCH))
    if title:
        write(figure, 1.5, 1.5, title, fontsize=mpl.rcParams["figure.titlesize"])
    return figure


def _size_mm(figure: Figure) -> tuple[float, float]:
    width, height = figure.get_size_inches()
    return width * MM_PER_INCH, height * MM_PER_INCH


def panel(figure: Figure, left: float, top: float, width: float, height: float, **settings) -> Axes:
    """Axes by the place of their frame in mm from the page's top left corner; `settings` are those of the axes."""
    across, down = _size_mm(figure)
    frame = (left / across, 1 - (top + height) / down, width / across, height / down)
    return figure.add_axes(frame, **settings)


def write(figure: Figure, left: float, top: float, text: str, **settings) -> None:
    """Text by its top left corner, in mm from the page's."""
    across, down = _size_mm(figure)
    figure.text(left / across, 1 - top / down, text, **{"va": "top", "ha": "left"} | settings)


def say(title: str, sentence: str) -> Figure:
    """In place of a figure that does not apply: why."""
    lines = textwrap.wrap(sentence, 62)
    figure = page(COLUMN_MM, 8 + 3.6 * len(lines), title)
    write(figure, 1.5, 6, "\n".join(lines), color=GREY)
    return figure


def save(figure: Figure, paths: Mapping[str, Path]) -> None:
    """Write a figure in each format; `paths` by format."""
    for form, path in paths.items():
        figure.savefig(path, format=form, **OPTIONS[form])


def make_smaller(png: Path, colors: int = 128) -> None:
    """Write a picture anew with so many colours, in about a third of its bytes, for a page that carries it."""
    with Image.open(png) as picture:
        few = picture.convert("RGB").quantize(colors, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(png, format="png", optimize=True)


def shortened(name: str, length: int) -> str:
    """A name of at most so many letters, its middle left out if it must be."""
    if len(name) <= length:
        return name
    keep = length - 1
    return f"{name[: keep - keep // 2]}…{name[-(keep // 2) :]}"
