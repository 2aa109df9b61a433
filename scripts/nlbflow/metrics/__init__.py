"""The benchmark's metrics as formulas: arrays in, numbers out.

In: rates and counts (trials, bins, neurons), behavior (trials, bins, channels). Out: co-bps, fp-bps, vel R2, psth R2,
tp corr. `formulas` has them, `decoder` the regression to behavior. Methods use them to validate a training,
scoring to judge a prediction.
"""
