"""Rule score_one: the metrics of one prediction with their intervals."""

from nlbflow.running.job import job  # noqa: F401  first: it fixes the number of BLAS threads
from nlbflow.scoring.prediction import score_prediction

if "snakemake" in globals():
    score_prediction(snakemake)  # noqa: F821
