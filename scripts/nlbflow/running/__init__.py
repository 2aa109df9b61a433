"""What surrounds a job: its log, outputs, process, stamps and provenance.

Nothing here knows of recordings, models or scores; every other package may use it. Begin with `job.job`, inside which
each rule's script works. `stamps` says when a result must be made again, `files` reads and writes HDF5 and JSON.
"""
