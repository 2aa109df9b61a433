"""MINT: a library of trajectories, and where on them a trial is. Begin with `library`, then `states`."""
