"""What the leaderboard page costs with very many models, such as entries of a public board.

    python benchmarks/board.py [models ...]

For each number of models (200, 1,000 and 10,000 if none is given), of three seeds each, at one place, with made-up
scores: seconds of the comparisons of two metrics over 100 trials, seconds to build the page, its size, and in headless
Chromium the seconds until its table is shown and until it is sorted by another column. The last line is one JSON
object.
"""

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from side_by_side import PYTHON, ROOT, measure

MODELS = [200, 1_000, 10_000]
TRIALS, DRAWS, METRICS = 100, 1_000, ("co-bps", "vel R2")


def main(counts: list[int]) -> None:
    if not PYTHON.exists():
        sys.exit(f"{PYTHON} does not exist; run `make .venv/test.done` first, which makes the tests' environment.")
    found = {}
    for count in counts:
        with tempfile.TemporaryDirectory(prefix="nlbflow-board-") as scratch:
            done = measure(PYTHON, __file__, "--measure", count, scratch)
            found[count] = json.loads(done.output.splitlines()[-1]) | {"peak_mb": round(done.peak_mb)}
            print(count, found[count], flush=True)
    print(json.dumps({"board": found}))


def of_models(count: int, folder: Path) -> dict[str, float]:
    """In an environment with the tests' packages."""
    sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests/helpers")]
    import numpy as np

    import fake_page
    from nlbflow.boards.page import leaderboard_page
    from nlbflow.scoring.bootstrap import Bootstrap
    from nlbflow.scoring.comparisons import difference_table, rank_table

    draws = np.random.default_rng(0)

    def bootstrap() -> Bootstrap:
        estimate, each = float(draws.normal(0.2, 0.05)), draws.normal(0, 0.002, TRIALS)
        resampled = draws.normal(estimate, 0.02, DRAWS)
        return Bootstrap(estimate, resampled, np.full(DRAWS, 0.02), each, TRIALS - 1, (-np.inf, np.inf), False)

    scores = {(f"model_{i}", 0): {metric: bootstrap() for metric in METRICS} for i in range(count)}
    began = time.perf_counter()
    ranks, pairs = rank_table(scores), difference_table(scores)
    seconds = {"compare_seconds": time.perf_counter() - began, "pairs": len(pairs), "ranks": len(ranks)}
    fake_page.DATASETS = {name: about for name, about in fake_page.DATASETS.items() if name == "mc_maze_small"}
    made = many(fake_page.parts(models=MODELS[0], bins=(5,), seeds=3), count)
    began = time.perf_counter()
    html = leaderboard_page(**made)
    seconds |= {"page_seconds": time.perf_counter() - began, "page_mb": len(html.encode()) / 1e6}
    page = folder / "leaderboard.html"
    page.write_text(html)
    return {name: round(value, 3) for name, value in (seconds | in_chromium(page)).items()}


def many(made: dict, count: int) -> dict:
    """So many models: those of the parts of a page, and copies of them that are a little worse.

    As rule compare leaves them, pairs of models that are far behind have no row.
    """
    import numpy as np
    import pandas as pd

    draws, entries, ranks = np.random.default_rng(1), [*made["entries"]], [made["ranks"]]
    own = [entry for entry in entries if entry["kind"] == "competitor"]
    for copy in range(1, count // MODELS[0]):
        for entry in own:
            scores = {name: value - abs(float(draws.normal(0, 0.05))) for name, value in entry["scores"].items()}
            entries.append({**entry, "model": f"{entry['model']}_{copy}", "scores": scores})
        rows = made["ranks"][made["ranks"]["kind"] == "competitor"]
        ranks.append(rows.assign(model=rows["model"] + f"_{copy}"))
    return {**made, "entries": entries, "ranks": pd.concat(ranks, ignore_index=True)}


def in_chromium(file: Path) -> dict[str, float]:
    """Seconds until the table is shown, and until it is sorted; nothing where there is no Chromium."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        return {}
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        began = time.perf_counter()
        page.goto(file.as_uri())
        page.locator("#board tbody tr th button").first.wait_for()
        shown = time.perf_counter() - began
        began = time.perf_counter()
        page.locator("#board thead th[data-name='vel R2'] .dt-column-order").click()
        page.locator("#board thead th[data-name='vel R2'][aria-sort]").wait_for()
        ordered = time.perf_counter() - began
        browser.close()
    return {"shown_seconds": shown, "sorted_seconds": ordered}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(of_models(int(sys.argv[2]), Path(sys.argv[3]))))
    else:
        main([int(word) for word in sys.argv[1:]] or MODELS)
