"""Rule crate: tables, leaderboards and config as an RO-Crate, one zip file for an archive."""

import tempfile
from pathlib import Path

from nlbflow.running.job import job  # first: it fixes the number of BLAS threads
from nlbflow.boards.crate import CITATION, CONFIG, crate_description, find_python, pack
from nlbflow.running.files import read_json, write_json


def main(smk) -> None:
    with job(smk) as run, tempfile.TemporaryDirectory() as scratch:
        asked = read_json(smk.input.stamp)["parameters"]
        root, results = Path(smk.scriptdir).parent, Path(smk.input.board).parent
        files = {Path(path).relative_to(results).as_posix(): Path(path) for path in smk.input.files}
        files |= {CONFIG: Path(scratch, CONFIG), CITATION: root / CITATION}
        write_json(files[CONFIG], asked["config"])
        board = read_json(smk.input.board)
        description = crate_description(board, asked["citation"], files, results, run.log)
        pack(find_python(root), root / "scripts/pack_crate.py", description, run.out["crate"], Path(scratch))
        run.log(f"{len(files)} files, {len(description['entities'])} further entities")


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
