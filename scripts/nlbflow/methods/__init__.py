"""What computes rates: the mathematics of the models, one module or package for each method.

In: spike counts of training trials and held-in counts of evaluation trials. Out: rates (spikes per bin) and latents. A
file in `scripts/models` is the place to begin: it names the parameters and calls what is here.
"""
