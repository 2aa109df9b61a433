"""What the networks share: counts as tensors, layers, the training loop and its checkpoints.

Begin with `training` (one loop for all networks) and `common`; `ndt` is the transformers' model, `recurrent` the gated
recurrent units that LFADS uses too.
"""
