# From the archive, a folder or the simulator to the tensors and the answers.


rule simulate:
    input:
        stamp=simulate_stamp,
    output:
        **{part: f"data/nwb/simulated/{{dataset}}/sub-Sim/{file}" for part, file in SIMULATED.items()},
    log:
        "logs/simulate/{dataset}.log",
    benchmark:
        "logs/simulate/{dataset}.benchmark.tsv"
    conda:
        "../envs/prepare.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(20),
    params:
        digest=planned_digest,
    message:
        "Simulating the session {wildcards.dataset}"
    script:
        "../scripts/simulate.py"


# No stamp: the pinned checksum defines a fetched file, whatever code fetched it.
rule fetch:
    output:
        nwb="data/nwb/{dandiset}/{version}/{path}",
    log:
        "logs/fetch/{dandiset}/{version}/{path}.log",
    benchmark:
        "logs/fetch/{dandiset}/{version}/{path}.benchmark.tsv"
    wildcard_constraints:
        dandiset=r"[0-9]{6}",
        version=r"[0-9][0-9.]+[0-9]",
        path=r".+\.nwb",
    conda:
        "../envs/fetch.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(240),
    params:
        sha256=lambda w: find_pin(PINS, w.dandiset, w.version, w.path).sha256,
    message:
        "Fetching {wildcards.path} of dandiset {wildcards.dandiset}"
    script:
        "../scripts/fetch.py"


# In place of fetch where `stream: true`: where in the archive the file lies, of which `tensors` and `targets` then read
# what they need.
rule stream:
    output:
        pointer="data/nwb/{dandiset}/{version}/{path}.json",
    log:
        "logs/stream/{dandiset}/{version}/{path}.log",
    benchmark:
        "logs/stream/{dandiset}/{version}/{path}.benchmark.tsv"
    wildcard_constraints:
        dandiset=r"[0-9]{6}",
        version=r"[0-9][0-9.]+[0-9]",
        path=r".+\.nwb",
    conda:
        "../envs/fetch.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        sha256=lambda w: find_pin(PINS, w.dandiset, w.version, w.path).sha256,
        inputs=lambda w: INPUTS.get(find_pin(PINS, w.dandiset, w.version, w.path).sha256, {}),
    message:
        "Finding {wildcards.path} of dandiset {wildcards.dandiset}, to be streamed"
    script:
        "../scripts/stream.py"


rule link:
    input:
        file=lambda w: local(SELECTION.user_file(w.dataset, w.part)),
    output:
        nwb="data/nwb/{dataset}/{version}/{part}.nwb",
    log:
        "logs/link/{dataset}/{version}/{part}.log",
    benchmark:
        "logs/link/{dataset}/{version}/{part}.benchmark.tsv"
    wildcard_constraints:
        version=r"[\w.-]+",
        part=r"train|test|truth|whole",
    conda:
        "../envs/fetch.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=growing(30),
    params:
        sha256=lambda w: DATASETS[w.dataset]["files"][w.part].get("sha256"),
    message:
        "Checking and linking {input.file}"
    script:
        "../scripts/link.py"


# `snakemake inspect` runs the NWB team's own checker on the user's recordings; no result depends on it.
rule inspect:
    input:
        [f"results/inspection/{dataset}/{part}.txt" for dataset, part in SELECTION.user_files()],


rule inspect_recording:
    input:
        nwb=lambda w: SELECTION.parts(w.dataset)[w.part],
        stamp=inspect_stamp,
    output:
        report="results/inspection/{dataset}/{part}.txt",
    log:
        "logs/inspect_recording/{dataset}/{part}.log",
    benchmark:
        "logs/inspect_recording/{dataset}/{part}.benchmark.tsv"
    wildcard_constraints:
        part=r"train|test|truth|whole",
    conda:
        "../envs/fetch.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        digest=planned_digest,
    message:
        "Inspecting {input.nwb}"
    script:
        "../scripts/inspect_recording.py"


# `snakemake results/inputs.tsv` makes what streamed files are checked by, from whole ones; once looked at, it is copied to
# resources/inputs.tsv.
rule pin_inputs:
    input:
        files=[path for *_, path in SELECTION.pinned_files()],
        stamp=pin_inputs_stamp,
    output:
        table="results/inputs.tsv",
    log:
        "logs/pin_inputs.log",
    benchmark:
        "logs/pin_inputs.benchmark.tsv"
    conda:
        "../envs/prepare.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        digest=planned_digest,
        of=[of for *of, _ in SELECTION.pinned_files()],
    message:
        "Making checksums of what is read of {input.files}"
    script:
        "../scripts/pin_inputs.py"


# Like fetch, but for the published answers, which come from a plain url or from the user's folder.
rule fetch_answers:
    output:
        answers=ANSWERS,
    log:
        "logs/fetch_answers.log",
    benchmark:
        "logs/fetch_answers.benchmark.tsv"
    conda:
        "../envs/fetch.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(60),
    params:
        sha256=config["published_answers"]["sha256"],
    message:
        "Fetching the published answers of the test phase"
    script:
        "../scripts/fetch_answers.py"


rule tensors:
    input:
        unpack(lambda w: SELECTION.input_parts(w.dataset)),
        stamp=cutting_stamp("tensors"),
    output:
        input=f"results/{PLACE}/input.h5",
        dataset=f"results/{PLACE}/dataset.json",
    log:
        f"logs/tensors/{PLACE}.log",
    benchmark:
        f"logs/tensors/{PLACE}.benchmark.tsv"
    conda:
        "../envs/prepare.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        digest=planned_digest,
    message:
        "Cutting {wildcards.dataset} into tensors ({wildcards.bin_ms} ms, {wildcards.phase})"
    script:
        "../scripts/tensors.py"


rule targets:
    input:
        unpack(lambda w: SELECTION.target_parts(w.dataset, w.bin_ms, w.phase)),
        stamp=cutting_stamp("targets"),
    output:
        target=f"results/{PLACE}/target.h5",
    log:
        f"logs/targets/{PLACE}.log",
    benchmark:
        f"logs/targets/{PLACE}.benchmark.tsv"
    conda:
        "../envs/prepare.yaml"
    threads: 1
    resources:
        mem_mb=growing(3000),
        runtime=growing(30),
    params:
        digest=planned_digest,
    message:
        "Making the answers of {wildcards.dataset} ({wildcards.bin_ms} ms, {wildcards.phase})"
    script:
        "../scripts/targets.py"
