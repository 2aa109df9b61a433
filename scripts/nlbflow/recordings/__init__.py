"""From NWB files to arrays: what a model may see (input.h5) and the answers (target.h5).

In: NWB files and a dataset's stanza. Out: spike counts (trials, bins, neurons), behavior (trials, bins, channels),
PSTHs, and a summary with notes for people. Begin with `tensors` and `targets`; they ask a `session` (the files of a
dataset on one 1 ms clock, read by `nwb`) for trial `windows`. `exclusions` says which trials and units are left out,
`overlap` whether evaluation windows are apart from those of training.
"""
