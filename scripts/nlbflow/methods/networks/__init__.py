"""What the networks share: counts as tensors, layers, the training loop and its checkpoints.

Begin with `training` (one loop for all networks) and `common`; `coordinated` fits those that differ in their
architecture alone, `ndt` is the transformers' model, `recurrent` has the gated recurrent units, which LFADS uses too.
`updates` is one update of a network, or of several side by side, and `graphs` records it on a GPU.
"""
