"""MINT: a library of trajectories, and the place of a trial on them. Begin with `library`, then `states`."""
