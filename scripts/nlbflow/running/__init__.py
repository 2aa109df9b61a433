"""What surrounds a job: its log, outputs, process, stamps and provenance.

Nothing here knows of recordings, models or scores; every other package may use it. Each script of a rule works inside
`job.job`, which is where to begin reading; `stamps` says when a result must be made again, `files` reads and writes
HDF5 and JSON.
"""
