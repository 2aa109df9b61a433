"""Tables for reading: what is marked, what is missing, what was reproduced."""

import re

import numpy as np
import pandas as pd
import pytest
import yaml

from fake_results import DATASETS, FAILED, NO_INTERVAL, fake_results
from nlbflow.boards.boards import Cell, Results, across_board, board_table, place_board
from nlbflow.boards.cells import best_and_second
from nlbflow.boards.reproduction import compares, reproduction, reproduction_sheet, verdict
from nlbflow.boards.sheets import board_sheets, reasons
from nlbflow.boards.tables import COMPARISONS, PLACE, note_table, read_table
from nlbflow.boards.typesetting import (
    LATEX,
    MARKDOWN,
    cell_text,
    latex_text,
    markdown_text,
    to_html,
    to_latex,
    to_markdown,
)
from nlbflow.metrics.formulas import METRICS
from nlbflow.metrics.meanings import direction, meaning
from workflow import ROOT

HERE = ("d", 5, "val")
ABOUT = {name: {"title": name.upper(), "citation": "they & co (2021)", "license": "CC-BY-4.0"} for name in DATASETS}
PUBLISHED = pd.DataFrame(columns=["dataset", "bin_ms", "phase", "method", "metric", "value", "grade", "source"])


def marks_of(metric: str, values: dict[str, float], real: list[str], oracles: tuple[str, ...] = ()) -> dict[str, str]:
    """The marks of models named by a letter; `real` holds the pairs that really differ, such as "ab"."""
    ranks = [
        (*HERE, metric, m, "oracle" if m in oracles else "competitor", 1, v, None, None, 1, 1)
        for m, v in values.items()
    ]
    names = [m for m in values if m not in oracles]
    pairs = [(*HERE, metric, a, b, 0, 0, 0, a + b in real) for i, a in enumerate(names) for b in names[i + 1 :]]
    found = best_and_second(
        pd.DataFrame(ranks, columns=[*PLACE, *COMPARISONS["ranks"]]),
        pd.DataFrame(pairs, columns=[*PLACE, *COMPARISONS["differences"]]),
    )
    return {key[-1]: mark for key, mark in found.items()}


@pytest.mark.parametrize(
    ("real", "expected"),
    [
        (["ab", "ac", "bc"], {"a": "best", "b": "second"}),
        # the second is not really better than the third
        (["ab", "ac"], {"a": "best"}),
        # the best is not really better than the second: nobody is second either
        (["ac", "bc"], {}),
        (["ab", "bc"], {}),
        ([], {}),
    ],
)
def test_marks_only_where_differences_are_real(real, expected):
    assert marks_of("co-bps", {"a": 0.3, "b": 0.2, "c": 0.1}, real) == expected
    # the more negative, the better
    assert marks_of("tp corr", {"a": -0.9, "b": -0.5, "c": -0.1}, real) == expected


def test_marks_of_few_models():
    assert marks_of("co-bps", {"a": 0.3}, []) == {}
    # the last of two is no second best
    assert marks_of("co-bps", {"a": 0.3, "b": 0.1}, ["ab"]) == {"a": "best"}
    # an oracle is never marked, nor does it keep the best from it
    assert marks_of("co-bps", {"o": 0.9, "a": 0.3, "b": 0.1}, ["ab"], oracles=("o",)) == {"a": "best"}


@pytest.mark.parametrize(
    ("published", "low", "high", "expected"),
    [
        (0.2, 0.1, 0.3, "within"),
        (0.3, 0.1, 0.3, "within"),
        (0.31, 0.1, 0.3, "outside"),
        (-0.1, 0.1, 0.3, "outside"),
        (0.2, np.nan, np.nan, "no interval"),
        (np.nan, 0.1, 0.3, "nothing published"),
        (np.nan, np.nan, np.nan, "nothing published"),
    ],
)
def test_verdict(published, low, high, expected):
    assert verdict(published, low, high) == expected


def test_reproduction_compares_what_is_comparable():
    def ranks(bin_ms, phase, model, metric="co-bps"):
        return ("mc_maze", bin_ms, phase, metric, model, "competitor", 1, 0.19, 0.18, 0.2, 1, 1)

    ours = [
        ranks(5, "test", "gpfa"),
        ranks(20, "test", "gpfa"),
        ranks(5, "val", "gpfa"),
        ranks(5, "test", "mine"),
        ranks(5, "test", "gpfa", "vel R2"),
        ranks(5, "test", "gpfa", "latent dimension"),
    ]
    theirs = [
        ("mc_maze", 5, "test", "GPFA", "co-bps", 0.187, "A", "a paper"),
        ("mc_maze", 5, "test", "GPFA", "co-bps", 0.5, "C", "a page"),
        ("mc_maze", np.nan, "test", "GPFA", "vel R2", 0.19, "C", "which bins?"),
        ("mc_maze", 5, "test", "Other", "co-bps", 0.19, "A", "a paper"),
    ]
    table = reproduction(
        pd.DataFrame(ours, columns=[*PLACE, *COMPARISONS["ranks"]]),
        pd.DataFrame(theirs, columns=PUBLISHED.columns),
        pd.DataFrame({"model": ["gpfa"], "method": ["GPFA"], "differs": ["a prior"]}),
    )
    rows = [(r.bin_ms, r.phase, r.model, r.metric, r.verdict) for r in table.itertuples()]
    assert rows == [
        (5, "test", "gpfa", "co-bps", "within"),
        (5, "test", "gpfa", "co-bps", "outside"),
        (20, "test", "gpfa", "co-bps", "nothing published"),
        (5, "val", "gpfa", "co-bps", "nothing published"),
        (5, "test", "mine", "co-bps", "nothing published"),
        (5, "test", "gpfa", "vel R2", "nothing published"),
    ]
    assert compares(table) and not compares(table[2:]) and not compares(table[:0])
    assert table["difference"][:2].tolist() == pytest.approx([0.003, -0.31])
    text = to_markdown(reproduction_sheet(table, ABOUT))
    assert "+0.0030" in text and "mc_maze, 5 ms bins, test phase" in text and "a prior" in text
    assert "mc_maze, 5 ms bins, test phase: mine; mc_maze, 5 ms bins, val phase: all models" in text
    assert "nan" not in text and "CC-BY-4.0" in text


def test_every_shipped_reproduction_is_of_a_published_method():
    published, reproduced = (pd.read_csv(ROOT / f"resources/{name}.csv") for name in ("published", "reproduced"))
    assert set(reproduced["method"]) <= set(published["method"])


def test_an_absent_model_is_of_its_kind(tmp_path):
    """One that has no score anywhere is still told from those that compete."""
    paths = fake_results(tmp_path, models=4, bin_ms=(5,), seeds=1)
    tables = [read_table(paths[name]) for name in ("scores", "ranks", "differences")]
    absent = [["mc_maze", 5, "val", model, "failed: broken"] for model in ("theirs", "the_truth")]
    found = Results(*tables, PUBLISHED, absent, kinds={"the_truth": "oracle"})
    kinds = {row.name: row.kind for group in place_board(found, ("mc_maze", 5, "val")).groups for row in group.rows}
    assert kinds["the_truth"] == "oracle" and kinds["theirs"] == "competitor"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    paths = fake_results(tmp_path_factory.mktemp("fake"), models=16, bin_ms=(5,), seeds=2)
    absent = [["mc_rtt", 5, "val", "condition_psth", "the dataset has no conditions"]]
    return Results(*(read_table(paths[name]) for name in ("scores", "ranks", "differences")), PUBLISHED, absent)


def test_what_is_missing_is_never_zero(results):
    model, dataset = FAILED
    board = place_board(results, (dataset, 5, "val"))
    rows = {row.name: row for row in board.groups[0].rows}
    assert "psth R2" not in board.columns and rows[model].rank is None
    assert {cell.missing for cell in rows[model].cells.values()} == {"no scores were made"}
    assert rows["condition_psth"].cells["co-bps"].missing == "the dataset has no conditions"
    assert rows["smoothing"].cells["fp-bps"].missing == "no forecast"
    table = board_table(board).set_index("name")
    assert np.isnan(table.loc[model, "co-bps"]) and table.loc[model, "co-bps missing"]
    sheet = board_sheets(board, ABOUT)[0]
    for text in (to_markdown(sheet), to_latex(sheet, "x"), to_html(sheet)):
        assert "nan" not in text.lower() and "None" not in text
        assert all(reason.replace("_", r"\_") in text or reason in text for reason in reasons(sheet))


def test_a_score_without_interval_has_none(results):
    dataset, metric = NO_INTERVAL
    cells = [row.cells[metric] for row in place_board(results, (dataset, 5, "val")).groups[0].rows]
    assert all(cell.low is None and not cell.mark and not cell.unbeaten for cell in cells)
    assert sum(cell.value is not None for cell in cells) > 10


def test_one_seed_has_no_spread(results):
    rows = {row.name: row for row in place_board(results, ("mc_maze", 5, "val")).groups[0].rows}
    assert rows["gpfa"].seeds == 1 and rows["gpfa"].cells["co-bps"].sd is None
    assert rows["gru"].seeds == 2 and rows["gru"].cells["co-bps"].sd > 0


def test_datasets_side_by_side(results):
    board = across_board(results, "All", {name: name.upper() for name in DATASETS}, 5, "val")
    groups = {group.title: {row.name: row for row in group.rows} for group in board.groups}
    assert [*groups] == ["co-bps", "vel R2", "psth R2", "tp corr", "fp-bps"]
    assert groups["tp corr"]["gpfa"].cells["mc_rtt"].missing == "does not apply here"
    # who lacks a dataset has no mean rank, and stands apart
    failed = groups["co-bps"][FAILED[0]]
    assert failed.rank is None and not failed.complete and "smoothing" not in groups["fp-bps"]
    (of_bits, *_), sheet = board.groups, board_sheets(board, ABOUT)[0]
    titles = [title for title, _ in sheet.groups]
    apart = dict(sheet.groups)["co-bps, not scored on every dataset"]
    assert FAILED[0] in [line[1] for line in apart] and titles[:2] == [
        of_bits.title,
        f"{of_bits.title}, not scored on every dataset",
    ]
    assert any(note.startswith("mean rank: ") for note in sheet.notes)
    ranks = [row.rank for row in groups["co-bps"].values() if row.rank]
    assert ranks == sorted(ranks) and 1 <= ranks[0] < ranks[-1]
    # among those that are compared: the best everywhere has rank 1, whoever is better but absent somewhere
    competing = [row for row in of_bits.rows if row.complete and row.kind == "competitor"]
    expected = np.mean(
        [
            [sum(other.cells[d].value > row.cells[d].value for other in competing) for row in competing]
            for d in DATASETS
        ],
        axis=0,
    )
    assert [row.rank for row in competing] == pytest.approx(expected + 1)
    alone = across_board(results, "One", {"dmfc_rsg": "DMFC"}, 5, "val")
    assert [group.title for group in alone.groups] == ["co-bps", "psth R2", "tp corr", "fp-bps"]
    best = next(row for row in alone.groups[2].rows if row.rank == 1)
    scores = [r.cells["dmfc_rsg"].value for r in alone.groups[2].rows if r.kind == "competitor"]
    assert best.cells["dmfc_rsg"].value == min(scores)


def test_nothing_scored_is_said():
    empty = pd.DataFrame(columns=[*PLACE, "model", "seed", "metric", "value", "low", "high", "kind"])
    compared = [pd.DataFrame(columns=[*PLACE, *COMPARISONS[name]]) for name in ("ranks", "differences")]
    results = Results(empty, *compared, PUBLISHED, [["mc_maze", 5, "val", "all models", "no truth"]])
    board = place_board(results, ("mc_maze", 5, "val"))
    assert len(board_table(board)) == 0 and "co-bps" not in board_table(board)
    (sheet,) = board_sheets(board, ABOUT)
    for text in (to_markdown(sheet), to_latex(sheet, "x"), to_html(sheet)):
        assert "Not scored: no truth." in text and "CC-BY-4.0" in text
    both = {"mc_maze": "a", "mc_rtt": "b"}
    assert board_sheets(across_board(results, "Both", both, 5, "val"), ABOUT)[0].groups == []


def test_notes_on_the_data_stand_under_the_tables_of_their_place(tmp_path):
    paths = fake_results(tmp_path, models=4, datasets=("mc_maze", "mc_rtt"), bin_ms=(5,), seeds=1)
    tables = [read_table(paths[name]) for name in ("scores", "ranks", "differences")]
    note = "3 trials_of 5 <b>overlap</b>."
    place = {"dataset": "mc_rtt", "bin_ms": 5, "phase": "val"}
    notes = note_table(
        [{**place, "notes": [note]}, {**place, "notes": [note]}, {**place, "phase": "test", "notes": ["x"]}]
    )
    results = Results(*tables, PUBLISHED, [], notes)
    (sheet,) = [s for s in board_sheets(place_board(results, ("mc_rtt", 5, "val")), ABOUT) if note in "".join(s.notes)]
    assert [line for line in sheet.notes if line.startswith("Note")] == [f"Note: {note}"]
    assert "3 trials_of 5 &lt;b>overlap" in to_markdown(sheet) and r"trials\_of" in to_latex(sheet, "x")
    assert "&lt;b&gt;overlap" in to_html(sheet)
    other = board_sheets(place_board(results, ("mc_maze", 5, "val")), ABOUT)
    assert not any("Note on" in line for s in other for line in s.notes)
    both = across_board(results, "Both", {"mc_maze": "Maze", "mc_rtt": "RTT"}, 5, "val")
    assert both.notes == ["see the notes under the tables of RTT."]
    # nothing scored there: the note is all the more wanted
    unscored = board_sheets(place_board(results, ("mc_rtt", 5, "test")), ABOUT)[0]
    assert "Note: x" in unscored.notes


def test_psth_r2_is_explained_where_it_stands(results):
    with_conditions, without = (
        board_sheets(place_board(results, (name, 5, "val")), ABOUT)[0].notes for name in ("mc_maze", "mc_rtt")
    )
    assert any(note.startswith("psth R2 is lower") for note in with_conditions)
    assert not any("psth R2" in note for note in without)


def test_every_metric_has_a_meaning_and_a_direction():
    documented = re.findall(r"^\| ([^|;,]+?)(?:[;,][^|]*)? \| ", (ROOT / "docs/metrics.md").read_text(), re.M)
    names = [
        # the last two are of pairs of models or seeds, and stand in tables of their own
        name.replace("k-shot", "32-shot")
        for name in documented
        if name not in ("name", "---", "cross-decoding R2", "sparse R2")
    ]
    known = [name for name in names if meaning(name)]
    structure = {"neuron ARI", "state ARI", "state accuracy", "coupling AUC"}
    further = {"Poisson D2", "32-shot co-bps", "latent dimension", "rate R2", "state R2", *structure}
    assert {*METRICS, *further} == set(known)
    assert "more negative" in direction("tp corr").lower() and direction("emg R2") == "Higher is better."
    assert meaning("emg R2") and not meaning("mc_maze") and not meaning("rank")


def test_far_out_scores_take_no_room():
    assert cell_text(Cell(-590646.7532, -7e5, -5e5), MARKDOWN, {}) == "-5.91e+05 [-7.00e+05, -5.00e+05]"
    assert cell_text(Cell(-0.5, -0.6, -0.4), MARKDOWN, {}) == "-0.5000 [-0.600, -0.400]"


def test_latex_text():
    assert latex_text("a_b & 5% {x} #1 ~^\\ <C>") == (
        r"a\_b \& 5\% \{x\} \#1 \textasciitilde{}\textasciicircum{}\textbackslash{} \textless{}C\textgreater{}"
    )
    assert latex_text("Müller Łukasz 神経 – “x”") == r"Müller \L{}ukasz ?? -- ``x''"
    assert cell_text("–", LATEX, {}) == "--"


def test_hostile_names_stay_text():
    assert markdown_text("a|b *c* [d](e) <i> `f` _g_ h_i &amp; j\nk") == (
        r"a\|b \*c\* \[d\](e) &lt;i> \`f\` \_g\_ h_i \&amp; j k"
    )
    # an escape sequence, a reversed direction and an end of text; names keep their letters
    assert markdown_text("\x1b[2Ja\u202eb\x04 é 中") == r"?\[2Ja?b? é 中"
    assert markdown_text("a\\|b") == r"a\\\|b", "the cell ends where the table says"
    assert latex_text("[a]* b\n\nc") == "{[}a]{*} b c", "no argument of a row's end, no paragraph in a caption"
    assert latex_text("½ … ﬁ x² e\u0301 ḧ") == "1/2 ... fi x2 é h"
    assert latex_text("\x07μ") == "??"


def test_a_model_that_differs_says_so_beside_its_reproduction():
    """Whose file tells how it differs from the baseline is not called the same in the table."""
    reproduced = pd.read_csv(ROOT / "resources/reproduced.csv")
    stanzas = yaml.safe_load((ROOT / "config.yaml").read_text())["models"]
    for model in reproduced.loc[reproduced["differs"].isna(), "model"]:
        text = (ROOT / "scripts/models" / stanzas[model]["file"]).read_text()
        assert "differ" not in text.split('"""')[1].lower(), model
    contrast = reproduced[reproduced["model"] == "stndt"].set_index("method")["differs"]
    assert "contrastive" in contrast["STNDT single"] and "contrastive" not in contrast["STNDT single w/o contrastive"]
