"""A simulated reaching session as NWB files in MC_Maze's layout, with its true rates beside it.

In: the settings of a simulated dataset. Out: NWB files that `nlbflow.recordings` reads like any other, and an HDF5 file
of the truth. Begin with `session`.
"""
