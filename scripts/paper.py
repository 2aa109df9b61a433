"""Rule paper: every table and figure in one folder, with a main.tex and, where there is LaTeX, its PDF."""

import shutil
from pathlib import Path

from nlbflow.running.job import job  # first: it fixes the number of BLAS threads
import pandas as pd
from nlbflow.boards.contents import PHASES, REPRODUCTION, of_both_phases
from nlbflow.running.files import read_json
from nlbflow.boards.paper import compile_pdf, metrics_of, paper_source
from nlbflow.boards.reproduction import compares


def main(smk) -> None:
    with job(smk) as run:
        asked = read_json(smk.input.stamp)["parameters"]
        folder = run.out["folder"]
        for part, files in (("tables", smk.input.tables), ("figures", smk.input.figures)):
            (folder / part).mkdir(parents=True)
            for path in files:
                shutil.copyfile(path, folder / part / Path(path).name)
        sections: dict[str, list[str]] = {}
        for board in asked["boards"]:
            sections.setdefault(board["section"], []).append(board["name"])
        tables = {Path(path).stem: pd.read_csv(path) for path in smk.input.tables if path.endswith(".csv")}
        tables.pop(PHASES, None)
        if of_both_phases(asked["boards"]):
            sections["Val and test"] = [PHASES]
        if compares(tables.pop(REPRODUCTION)):
            sections["Reproduction"] = [REPRODUCTION]
        template = (Path(smk.scriptdir).parent / "resources/paper/main.tex").read_text()
        metrics = metrics_of(tables.values())
        source = paper_source(template, metrics, sections, asked["figures"], asked["about"], asked["origin"])
        (folder / "main.tex").write_text(source)
        run.log(f"{len(smk.input.tables)} tables, {len(smk.input.figures)} figures; {compile_pdf(folder)}")


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
