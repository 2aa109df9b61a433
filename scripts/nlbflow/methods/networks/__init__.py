"""What the networks share: counts as tensors, layers, the training loop and its checkpoints.

Begin with `training` (one loop for all networks) and `common`; `ndt` is the transformers' model, `recurrent` has the
gated recurrent units, which LFADS uses too.
"""
