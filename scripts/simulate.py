"""Rule simulate: write a simulated session as NWB files in the layout of MC_Maze, with its truth."""

from nlbflow.running.job import job  # first: it fixes the number of BLAS threads
from nlbflow.running.files import read_json
from nlbflow.recordings.simulator.kinds import simulate
from nlbflow.recordings.simulator.nwb import write_session


def main(smk) -> None:
    with job(smk) as run:
        settings = read_json(smk.input.stamp)["parameters"]["settings"]
        run.log(f"simulating with {settings}")
        write_session(simulate(settings), run.out)
        run.log(f"done in {run.seconds:.1f} s")


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
