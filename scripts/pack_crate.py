"""Pack an RO-Crate: pack_crate.py DESCRIPTION.json OUT.zip.

Rule crate runs it in an environment that has `rocrate` and not our packages, so it imports nothing of ours.
`nlbflow.boards.crate.crate_description` says what the description holds.
"""

import json
import sys

from rocrate.model.contextentity import ContextEntity
from rocrate.rocrate import ROCrate


def write(description: dict, out: str) -> None:
    """Write the crate as a zip file with ro-crate-metadata.json and the files."""
    # 1.1 is what archives read today; its context does not have the term sha256
    crate = ROCrate(version="1.1")
    crate.metadata.extra_terms["sha256"] = "http://schema.org/sha256"
    for key, value in description["root"].items():
        crate.root_dataset[key] = value
    for file in description["files"]:
        crate.add_file(file["source"], file["path"], properties=file["properties"])
    for entity in description["entities"]:
        crate.add(ContextEntity(crate, entity["@id"], properties=entity))
    crate.write_zip(out)


if __name__ == "__main__":
    with open(sys.argv[1]) as told:
        write(json.load(told), sys.argv[2])
