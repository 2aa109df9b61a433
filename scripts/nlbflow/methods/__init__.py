"""The mathematics of the models, one module or package for each method.

In: spike counts of training trials and held-in counts of evaluation trials. Out: rates (spikes per bin) and latents.
Begin with a file in `scripts/models`: it names the parameters and calls the functions here.
"""
