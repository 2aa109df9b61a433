"""From a config to a plan: what is selected, which of it can be made, and from which files.

In: the config as Snakemake merged it. Out: the answers that the rules' input functions ask for. Begin with `config`.
"""
