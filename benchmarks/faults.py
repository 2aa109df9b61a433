"""Every fault of tests/helpers/faults.py upon a small run, and the table of what came of it.

    .venv/bin/python benchmarks/faults.py [--only PATTERN] [--record trials.jsonl] [--write docs/faults.md]

With --record, trials that are in that file already are not tried again: a run that was ended goes on.
"""

import argparse
import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests/helpers")]

from fault_trials import Reference, Skip, reference_maker, try_fault
from faults import FAULTS, Fault

HEAD = """# Faults that were tried

`make faults` does to a small run what can happen to a long one. A fault strikes a chosen stage at a random moment. Then
its cause is removed, and `make resume` is called. It takes about an hour, and some faults need root. The fault is
*survived* if

- a half-written file never has a final name;
- nothing that was finished before is lost or made again;
- the run ends with the tables of a run without the fault, byte for byte;
- no process is left.

The last column shows what the struck run told the user. It is in brackets where that run ended well all the same.

Two more faults are tried on a SLURM cluster ([test_slurm.py](../tests/workflow/test_slurm.py)): a node is killed with
everything that runs on it, and SLURM's controller is killed. After the first the run goes on by itself. After the
second it may wait for jobs that SLURM has lost; it goes on after Ctrl-C and `resume.py`. Both runs end with the tables
of a local run, byte for byte.

| fault | tried | survived | what the user saw |
|---|---|---|---|
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only the kinds with a match of this pattern")
    parser.add_argument("--record", type=Path, help="a file with a line for each trial")
    parser.add_argument("--write", type=Path, help="the file for the table")
    options = parser.parse_args()
    start, trials = time.perf_counter(), []
    if options.record and options.record.is_file():
        trials = [json.loads(line) for line in options.record.read_text().splitlines()]
    known = {(trial["kind"], trial["seed"]) for trial in trials}
    chosen = [fault for fault in FAULTS if re.search(options.only, fault.kind)]
    with tempfile.TemporaryDirectory() as scratch:
        references = reference_maker(Path(scratch))
        # every kind once before any is tried again
        todo = [(seed, fault) for seed in range(max(f.times for f in chosen)) for fault in chosen if seed < fault.times]
        for seed, fault in todo:
            if (fault.kind, seed) not in known:
                trials.append(one_trial(fault, seed, references, Path(scratch)))
                if options.record:
                    with options.record.open("a") as record:
                        record.write(json.dumps(trials[-1]) + "\n")
    rows = [row(fault, [t for t in trials if t["kind"] == fault.kind]) for fault in chosen]
    table = HEAD + "".join(rows)
    print(table)
    if options.write:
        options.write.write_text(table)
    tried = [trial for trial in trials if trial["outcome"] != "skipped"]
    figures = {
        "kinds": len({trial["kind"] for trial in tried}),
        "tried": len(tried),
        "survived": sum(trial["outcome"] == "survived" for trial in tried),
        "not_survived": [f"{t['kind']}, {t['seed']}" for t in tried if t["outcome"] == "lost"],
        "skipped": len(trials) - len(tried),
        "seconds": round(time.perf_counter() - start),
    }
    print(json.dumps(figures))


def one_trial(fault: Fault, seed: int, references: Callable[[str], Reference], scratch: Path) -> dict:
    begun, outcome = time.perf_counter(), "survived"
    try:
        said = try_fault(fault, references, scratch / f"{fault.kind} {seed}", seed)
    except Skip as reason:
        outcome, said = "skipped", str(reason)
    except Exception as error:
        outcome, said = "lost", f"{type(error).__name__}: {str(error)[-2000:]}"
    print(f"{fault.kind}, {seed}: {outcome} in {time.perf_counter() - begun:.0f} s: {said}", flush=True)
    return {"kind": fault.kind, "seed": seed, "outcome": outcome, "said": said}


def row(fault: Fault, trials: list[dict]) -> str:
    tried = [trial for trial in trials if trial["outcome"] != "skipped"]
    survived = [trial for trial in tried if trial["outcome"] == "survived"]
    said = Counter(trial["said"] for trial in survived or trials).most_common(1)[0][0] if trials else "not tried"
    said = said.splitlines()[0].replace("|", "\\|")
    if survived and not fault.fails:
        said = f"({said})"
    return f"| {fault.kind} | {len(tried)} | {len(survived)} | {said} |\n"


if __name__ == "__main__":
    main()
