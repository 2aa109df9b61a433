"""LFADS and its population-based training, AutoLFADS. Begin with `net` (the model), then `fit` (the run)."""
