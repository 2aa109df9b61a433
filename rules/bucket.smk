# With `--default-storage-provider s3`, data, results and logs lie in a bucket (see scripts/nlbflow/running/bucket.py).
import atexit
import os

from snakemake_interface_storage_plugins.io import Mtime

from nlbflow.running.bucket import VARIABLE, Bucket, bucket_of_run
from nlbflow.running.lease import Lease
from nlbflow.running.store import store_of_run


def find_bucket():
    """Let this process, and those that it starts, find the bucket of the run; if it has none, nothing."""
    settings = workflow.storage_settings
    provider = workflow.storage_registry.default_storage_provider
    os.environ.pop(VARIABLE, None)
    bucket_of_run.cache_clear()
    if provider is None:
        return None
    if settings.default_storage_provider != "s3":
        raise WorkflowError(
            f"--default-storage-provider {settings.default_storage_provider}: stamps and checkpoints can be kept in a "
            "folder or in S3 buckets only; use s3, or none."
        )
    try:
        found = Bucket.at(settings.default_storage_prefix, provider.local_prefix)
    except NlbflowError as error:
        raise WorkflowError(str(error))
    found.lead_jobs(provider.settings)
    return found


BUCKET = find_bucket()
# Its bucket, or its folder: where a run keeps its small files.
STORE = store_of_run()
LEASES = []

try:
    # When the run began, by the clock that dates its files. A bucket that cannot be reached shows here.
    BEGUN = STORE.now() if workflow.is_main_process else None
except NlbflowError as error:
    raise WorkflowError(str(error))


@lru_cache(maxsize=None)
def hold_bucket():
    """Hold the bucket for as long as this process lives, unless for a dry run, and show the plan what lies in it."""
    lead_jobs()
    if not workflow.dryrun:
        LEASES.append(Lease(BUCKET))
    # one list instead of three requests for each file that does not exist
    for name, found in BUCKET.below().items():
        plan_with(name, found.modified.timestamp())
    whole = str(workflow.storage_registry.default_storage_provider.local_prefix / BUCKET.bucket)
    workflow.iocache.exists_in_storage[whole] = True
    workflow.iocache.exists_in_storage.has_inventory.add(whole)


def plan_with(name, modified):
    """Let the plan take an object of the bucket to be of that date, and the folders above it to be at least so new."""
    path, known = Path(os.path.relpath(BUCKET.local / name)), workflow.iocache
    for each in map(str, [path, *path.parents]):
        known.exists_in_storage[each] = True
        known.mtime[each] = Mtime(storage=max(modified, known.mtime[each].storage() if each in known.mtime else 0))


@atexit.register
def release():
    """Release the results, because this run is over."""
    release_folder()
    while LEASES:
        LEASES.pop().release()
