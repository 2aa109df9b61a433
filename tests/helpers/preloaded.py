# ruff: noqa: F401
"""What is imported once for all runs that tests make: Snakemake, and the libraries of its scripts."""

import os
from contextlib import suppress

# as nlbflow.running.job has it, which each script imports first
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ[_name] = "1"

import h5py
import jinja2
import matplotlib.figure
import numpy as np
import pandas as pd
import pyarrow
import pynwb
import scipy.optimize
import scipy.stats
import snakemake.cli
import snakemake.script

with suppress(ImportError):
    import torch
