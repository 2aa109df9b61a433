# The Neural Latents Benchmark from NWB files to leaderboards. Start at README.md; settings are in config.yaml.
from snakemake.utils import min_version

min_version("9.0")


# The catalogue of datasets first: config.yaml and --configfile may add to it or change it.
configfile: f"{workflow.basedir}/resources/datasets.yaml"
configfile: f"{workflow.basedir}/config.yaml"


# of every rule, beside its conda environment: docs/containers.md
container: config["image"]


include: "rules/common.smk"
include: "rules/lookups.smk"
include: "rules/stamps.smk"
include: "rules/data.smk"
include: "rules/models.smk"
include: "rules/together.smk"
include: "rules/results.smk"
include: "rules/figures.smk"
include: "rules/hooks.smk"


report: "report/workflow.rst"


# On a cluster, these run where snakemake does, because they take seconds.
localrules:
    all,
    submission,
    entries,
    entry,
    figures,
    inspect,
    link,
    choose,
    tables,
    leaderboard,
    leaderboard_json,
    boards,
    page,
    paper,
    crate,
    plot_pipeline,


# Nodes of a cluster mostly have no internet. In a cloud they have, and the bucket is near them; a user's folder is not.
if not BUCKET or config["data_folder"]:

    localrules:
        fetch,
        stream,
        fetch_answers,
        fetch_entry,


rule all:
    default_target: True
    input:
        SELECTION.wanted(),
        figure_files(SELECTION),


onstart:
    begin()


onsuccess:
    end()


onerror:
    end_with_failures()
