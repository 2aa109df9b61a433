"""From a config to a plan: what is selected, what of it can be made, and from which files.

In: the config as Snakemake merged it. Out: what the rules' input functions ask for. Begin with `config`.
"""
