# What a run says and does when it starts and when it ends.
import atexit
import subprocess
import time

STARTED = time.time()
# What a run prints last, after Snakemake's own last lines.
LAST_WORDS = []


def begin():
    """Keep the plan's stamps, print the plan, and move away files that show another selection."""
    STAMPS.keep()
    keep_together()
    say_plan()
    todo = set(workflow.dag.needrun_jobs(exclude_finished=False))
    forget_scores(job for job in todo if job.rule.name == "score" and workflow.dag.reason(job).forced)
    made = {STORE.name_of(file) for job in todo for file in job.output}
    if any(map(is_shown, made)):
        needed = {STORE.name_of(file) for job in workflow.dag.jobs for file in [*job.input, *job.output]}
        if moved := set_others_aside(ORIGIN, needed - made):
            print(f"nlbflow: {moved}", file=sys.stderr)


def forget_scores(jobs):
    """Remove the scores that jobs were told to make again, as Snakemake removes the outputs that it knows."""
    for run in (run for job in jobs for run in bundle(job.wildcards)):
        STORE.remove(scores_of(run))


def say_plan():
    jobs = list(workflow.dag.needrun_jobs(exclude_finished=False))
    gigabytes = sum(bytes_to_fetch(job) for job in jobs) / 1e9
    streamed = sum(pin_of(job).bytes for job in jobs if job.rule.name == "stream") / 1e9
    also = f" and a part of {streamed:.2f} GB to stream" if streamed else ""
    asked = [job.resources for job in jobs if not job.is_norun and job.resources.get("gpu", 0)]
    # a dry run with a cluster's profile uses the dry-run executor, but `nodes` comes from the profile
    cluster = workflow.non_local_exec or (workflow.dryrun and workflow.resource_settings.nodes)
    hours = most_hours([(r.gpu, r._cores, r.runtime) for r in asked], bool(cluster or gpu_names()))
    print(f"nlbflow: {len(jobs)} jobs, {gigabytes:.2f} GB to fetch{also}, {hours}", file=sys.stderr)


def bytes_to_fetch(job):
    """The number of bytes that a job downloads."""
    if job.rule.name == "fetch_answers":
        return 0 if config["data_folder"] else config["published_answers"]["bytes"]
    if job.rule.name == "fetch_entry":
        return MODELS.entry_file(job.wildcards.entry, job.wildcards.phase, job.wildcards.seed)["bytes"]
    if job.rule.name != "fetch":
        return 0
    pin = pin_of(job)
    return pin.bytes if DATASETS[pin.dataset]["source"] == "dandi" else 0


def pin_of(job):
    """The pinned file of a job that fetches it or is to stream it."""
    return find_pin(PINS, job.wildcards.dandiset, job.wildcards.version, job.wildcards.path)


@atexit.register
def say_plan_of_dry_run():
    if workflow.dryrun and workflow.dag:
        say_plan()


@atexit.register
def say_last_words():
    for words in LAST_WORDS:
        print(words, file=sys.stderr, flush=True)


def end():
    """Print how long the run took and where its results are shown."""
    if not config["partial"]:
        STORE.remove(UNFINISHED.as_posix())
        seconds = round(time.time() - STARTED)
        where = "; the results are shown in " + " and ".join(map(found_at, asked_for())) if asked_for() else ""
        if any(job.rule.name == "entry" for job in workflow.dag.jobs):
            # its boards, without what stands before them for readers of the file
            text = STORE.read("results/leaderboard.md").decode()
            LAST_WORDS.append(text[text.find("\n## ") :])
        LAST_WORDS.append(f"nlbflow: done in {seconds // 60} min {seconds % 60} s{where}")


def asked_for():
    """The files of this plan that a person looks at."""
    planned = {STORE.name_of(file) for job in workflow.dag.jobs for file in job.output}
    return [file for file in ("results/leaderboard.md", "results/leaderboard.html", "results/paper") if file in planned]


def found_at(file):
    """Where a person finds a file of this run."""
    return f"{BUCKET}/{file}" if BUCKET else file


def end_with_failures():
    """Make the tables of what there is, and print what failed."""
    try:
        tell_failures()
    except NlbflowError as error:
        LAST_WORDS.append(f"nlbflow: {error}")


def tell_failures():
    unfinished = what_is_unfinished()
    if config["partial"] or not unfinished.reasons:
        return
    unfinished.write()
    again = command_again(sys.argv[0], sys.argv[1:])
    if not unfinished.failures:
        LAST_WORDS.append(f"nlbflow: stopped; continue with: {again}")
        return
    words, whole = partial_command(sys.argv[1:], workflow.config_settings.config), True
    # a person who stops a run does not want another one
    by_hand = unfinished.stopped and workflow.execution_settings.keep_going
    some = any(result(run, "prediction.h5") not in unfinished.reasons for run in SELECTION.runs())
    if "results/scores.csv" in unfinished.reasons and words is not None and some and not by_hand:
        release()
        whole = subprocess.run([sys.executable, "-m", "snakemake", *words]).returncode == 0
    if healed := all(map(was_made, unfinished.reasons)):
        # a job that had been killed, for instance, succeeded now, so nothing is left for another run
        STORE.remove(UNFINISHED.as_posix())
    shown = [file for file in asked_for() if file not in unfinished.reasons or was_made(file)]
    LAST_WORDS.append(unfinished.tell([*map(found_at, shown)], whole, healed, again))


def was_made(file):
    """Whether this run made the file, or the run that makes tables of what there is."""
    return (STORE.modified(file) or 0) >= BEGUN


def what_is_unfinished():
    """The jobs that failed, and why each planned file that is missing was not made."""
    dag = workflow.dag
    failed = {job for entry in workflow.scheduler.failed for job in (entry.jobs if entry.is_group() else [entry])}
    left = [job for job in dag.needrun_jobs(exclude_finished=False) if not dag.finished(job)]
    said = {job: failure_sentence(log_of(job), BEGUN, workflow.non_local_exec) for job in failed}

    @lru_cache(maxsize=None)
    def root(job):
        """The failed job that kept a job from running: the job itself, or the first of those that it depends on."""
        return job if job in failed else next(filter(None, map(root, dag.dependencies[job])), None)

    failures = [failure for job in sorted(failed, key=str) for failure in failures_of(job, said[job])]
    reasons = {STORE.name_of(file): said.get(root(job), STOPPED) for job in left for file in job.output}
    reasons |= {file: failure.sentence for failure in failures for file in failure.files}
    reasons |= {file: STOPPED for job in left if root(job) is None for file in map(scores_of, unscored(job))}
    return Unfinished(failures, reasons)


def failures_of(job, sentence):
    """What failed in a job: of one that scores predictions, those whose scoring began and made no scores.

    The others of its bundle are scored when the tables of what there is are made.
    """
    ended = []
    for run in unscored(job):
        dataset, bin_ms, phase, model, seed = run
        log = f"logs/score/{PLACE}/{model}/{seed}.log".format(dataset=dataset, bin_ms=bin_ms, phase=phase)
        if (STORE.modified(log) or 0) >= BEGUN:
            what = f"Scoring {model}, seed {seed}, on {dataset} ({bin_ms} ms, {phase})"
            ended.append(Failure(what, failure_sentence(log, BEGUN), log, [scores_of(run)]))
    files = [*map(STORE.name_of, job.output), *map(scores_of, unscored(job))]
    return ended or [Failure(job.message or job.rule.name, sentence, log_of(job), files)]


def unscored(job):
    """The runs that a job of `score` was to score and has not."""
    runs = bundle(job.wildcards) if job.rule.name == "score" else []
    return [run for run in runs if not STORE.has(scores_of(run))]


def scores_of(run):
    """The scores of a run."""
    return result(run, "scores.json")


def log_of(job):
    """The name of a job's log; empty if it has none."""
    return STORE.name_of(job.log[0]) if job.log else ""
