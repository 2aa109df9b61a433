# One line on what a run is about to do; each run prints it at its start, a dry run at its end.
import atexit


def say_plan():
    jobs = list(workflow.dag.needrun_jobs(exclude_finished=False))
    gigabytes = sum(bytes_to_fetch(job) for job in jobs) / 1e9
    asked = [job.resources for job in jobs if not job.is_norun and job.resources.get("gpu", 0)]
    # a dry run of a cluster's profile is done by an executor of its own; `jobs` is the profile's
    cluster = workflow.non_local_exec or (workflow.dryrun and workflow.resource_settings.nodes)
    hours = most_hours([(r.gpu, r._cores, r.runtime) for r in asked], bool(cluster or gpu_names()))
    print(f"nlbflow: {len(jobs)} jobs, {gigabytes:.2f} GB to fetch, {hours}", file=sys.stderr)


def bytes_to_fetch(job):
    """How much a job downloads."""
    if job.rule.name == "fetch_answers":
        return 0 if config["data_folder"] else config["published_answers"]["bytes"]
    if job.rule.name != "fetch":
        return 0
    pin = find_pin(PINS, job.wildcards.dandiset, job.wildcards.version, job.wildcards.path)
    return pin.bytes if DATASETS[pin.dataset]["source"] == "dandi" else 0


@atexit.register
def say_plan_of_dry_run():
    if workflow.dryrun and workflow.dag:
        say_plan()
