"""nlbflow: the library behind the workflow. It knows nothing of Snakemake and can be used from a notebook."""

__version__ = "0.1.0"
