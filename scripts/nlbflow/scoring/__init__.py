"""From predictions and answers to numbers with intervals, and to comparisons of models.

In: prediction.h5 and target.h5. Out: scores.json, bootstrap.h5, both in bundles, and comparison.json. Begin with
`trial_statistics` (the metrics as functions of trial weights) and `bootstrap`.
"""
