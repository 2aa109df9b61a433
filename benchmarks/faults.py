"""Every fault of tests/faults.py upon a small run, and the table of what came of it: docs/faults.md.

.venv/bin/python benchmarks/faults.py [--kinds WORD] [--write docs/faults.md]
"""

import argparse
import json
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

from fault_trials import Skip, reference_maker, try_fault
from faults import FAULTS, Fault

HEAD = """# Faults that were tried

`make faults` does to a small run what can happen to a long one: at a random moment, or at a chosen stage, the fault
happens, then its cause is taken away and `make resume` is called. A fault is *survived* when at no time a half-written
file has a final name, when nothing that was finished is lost or made again, when the run ends with the tables of a run
without the fault, byte for byte, and when no process is left. Last comes what the user was told by the run that failed;
in brackets where it did not fail.

| fault | tried | survived | what the user saw |
|---|---|---|---|
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", default="", help="only those with a match of this pattern")
    parser.add_argument("--write", type=Path, help="the file for the table")
    options = parser.parse_args()
    start, rows, failed = time.perf_counter(), [], []
    with tempfile.TemporaryDirectory() as scratch:
        references = reference_maker(Path(scratch))
        for fault in (fault for fault in FAULTS if re.search(options.kinds, fault.kind)):
            said, survived, skipped = Counter(), 0, ""
            for seed in range(fault.times):
                begun = time.perf_counter()
                try:
                    said[
                        try_fault(fault, references, Path(scratch, fault.kind.replace(" ", "-"), str(seed)), seed)
                    ] += 1
                    survived += 1
                except Skip as reason:
                    skipped = str(reason)
                    break
                except Exception as error:
                    failed.append(f"{fault.kind}, seed {seed}")
                    print(f"{type(error).__name__}: {str(error)[-2000:]}", flush=True)
                print(f"{fault.kind}, seed {seed}: {time.perf_counter() - begun:.1f} s", flush=True)
            rows.append(row(fault, survived, said, skipped))
            print(rows[-1], flush=True)
    if options.write:
        options.write.write_text(HEAD + "\n".join(rows) + "\n")
    tried = [line.split(" | ") for line in rows]
    figures = {
        "kinds": len(rows),
        "tried": sum(int(cells[1]) for cells in tried),
        "survived": sum(int(cells[2]) for cells in tried),
        "failed": failed,
        "seconds": round(time.perf_counter() - start),
    }
    print(json.dumps(figures))


def row(fault: Fault, survived: int, said: Counter, skipped: str) -> str:
    tried = 0 if skipped else fault.times
    sentence = skipped or next((sentence for sentence, _ in said.most_common(1)), "")
    sentence = sentence.replace("|", "\\|")
    return f"| {fault.kind} | {tried} | {survived} | {sentence if fault.fails else f'({sentence})'} |"


if __name__ == "__main__":
    main()
