"""From an archive, a plain url or the user's folder to files whose bytes are known.

In: the table of pins (`resources/datasets.tsv`) and the urls and folders in the config. Out: files under `data/nwb`,
each of the pinned size and SHA-256, or pointers to those that are streamed. Begin with `pins`, then `fetch`; streaming
is `pointers`, `ranges` (requests), `blocks` (what came) and `streaming` (all of it as a file, for `opening`).
"""
