"""What surrounds a model: its file, the contract it is held to, tuning, ensembles, and submissions from anyone.

In: a stanza of the config, a model's file, input.h5. Out: prediction.h5. Begin with `contract`, which says what a
model's file must give; `predicting` runs it.
"""
