"""From an archive, a plain url or the user's folder to files whose bytes are known.

In: the table of pins (`resources/datasets.tsv`) and the urls and folders in the config. Out: files under `data/nwb`,
each of the pinned size and SHA-256. Begin with `pins`, then `fetch`.
"""
