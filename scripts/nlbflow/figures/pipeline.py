"""A drawing of the workflow: rules as boxes, the main files between them as arrows."""

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from nlbflow.figures.canvas import PAGE_MM, page, panel

HEIGHT_MM, WIDE_MM, HIGH_MM = 90.0, 26.0, 9.0
# The centre of each box in mm from the page's top left corner; rules that do similar work share a box.
BOXES = {
    ("fetch", "stream", "link"): (16, 14),
    ("simulate",): (16, 30),
    ("fetch_answers",): (16, 64),
    ("tensors",): (54, 22),
    ("targets",): (54, 62),
    ("check_model",): (92, 10),
    ("tune", "choose"): (92, 30),
    ("train", "ensemble"): (130, 22),
    ("read_submission",): (130, 36),
    ("oracle",): (130, 48),
    ("score",): (130, 62),
    ("write_submission",): (165, 22),
    ("plot_dataset",): (54, 42),
    ("plot_predictions", "plot_speed", "plot_learning", "plot_structure"): (165, 42),
    ("compare",): (165, 62),
    ("tables",): (130, 80),
    ("leaderboard", "boards", "page"): (92, 80),
    ("paper",): (54, 80),
    ("plot_scores",): (165, 80),
}
FILL, EDGE, FILES, ANSWERS = "#EAF2F8", "#0072B2", "#444444", "#D55E00"


@dataclass(frozen=True)
class Way:
    """A line that a file follows: its corners in mm, whether it ends in an arrow, and the file's name and position."""

    corners: tuple[tuple[float, float], ...]
    file: str = ""
    name_at: tuple[float, float] = (0.0, 0.0)
    answers: bool = False
    arrow: bool = True


WAYS = (
    Way(((29, 14), (35, 14), (35, 20), (41, 20)), "NWB", (35.6, 12.5)),
    Way(((29, 30), (35, 30), (35, 24), (41, 24))),
    Way(((35, 20), (35, 24)), arrow=False),
    Way(((35, 30), (35, 60), (41, 60)), answers=True),
    Way(((29, 64), (41, 64)), answers=True),
    Way(((67, 22), (117, 22)), "input.h5", (68, 20.5)),
    Way(((54, 26.5), (54, 37.5)), "dataset.json", (55, 32)),
    Way(((73, 22), (73, 30), (79, 30))),
    Way(((73, 30), (73, 37), (117, 37))),
    Way(((73, 37), (73, 46), (117, 46))),
    Way(((105, 10), (130, 10), (130, 17.5))),
    Way(((105, 30), (111, 30), (111, 24.5), (117, 24.5)), "best.json", (105.5, 32.6)),
    Way(((67, 62), (117, 62)), "target.h5", (68, 60.5), answers=True),
    Way(((110, 62), (110, 50), (117, 50)), answers=True),
    Way(((143, 22), (152, 22))),
    Way(((143, 36), (147.5, 36)), arrow=False),
    Way(((143, 48), (147.5, 48)), arrow=False),
    Way(((147.5, 22), (147.5, 60), (143, 60)), "prediction.h5", (144, 30)),
    Way(((147.5, 42), (152, 42))),
    Way(((147.5, 60), (152, 60))),
    Way(((143, 64), (152, 64))),
    Way(((130, 66.5), (130, 75.5)), "scores.json", (115.5, 72)),
    Way(((165, 66.5), (165, 71), (136, 71), (136, 75.5)), "comparison.json", (141, 69.3)),
    Way(((117, 80), (105, 80)), "*.csv", (108, 78.5)),
    Way(((143, 80), (152, 80)), "*.csv", (144, 78.5)),
    Way(((79, 80), (67, 80)), "*.tex", (70, 78.5)),
    Way(((165, 84.5), (165, 87), (54, 87), (54, 84.5)), "figures/*.pdf", (100, 87)),
)


def draw_pipeline() -> Figure:
    """The drawing, one page wide; broken lines are the answers."""
    figure = page(PAGE_MM, HEIGHT_MM)
    axes = panel(figure, 0, 0, PAGE_MM, HEIGHT_MM, xlim=(0, PAGE_MM), ylim=(HEIGHT_MM, 0))
    axes.set_axis_off()
    for way in WAYS:
        _draw_way(axes, way)
    for rules, (across, down) in BOXES.items():
        corner = across - WIDE_MM / 2, down - HIGH_MM / 2
        look = {"facecolor": FILL, "edgecolor": EDGE, "boxstyle": "round,pad=0,rounding_size=1.2"}
        axes.add_patch(FancyBboxPatch(corner, WIDE_MM, HIGH_MM, zorder=3, **look))
        axes.text(
            across, down, "\n".join(rules), ha="center", va="center", fontsize=6 if len(rules) < 4 else 5, zorder=4
        )
    return figure


def _draw_way(axes: Axes, way: Way) -> None:
    look = {"color": ANSWERS if way.answers else FILES, "linewidth": 0.8}
    style = "--" if way.answers else "-"
    drawn = way.corners[:-1] if way.arrow else way.corners
    axes.plot(*zip(*drawn, strict=True), style, zorder=2, **look)
    if way.arrow:
        before, end = way.corners[-2:]
        arrow = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, "mutation_scale": 6, **look}
        axes.annotate("", end, before, arrowprops=arrow | {"linestyle": style})
    if way.file:
        axes.text(*way.name_at, way.file, fontsize=5.5, color=look["color"], va="center", zorder=5,
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # fmt: skip
