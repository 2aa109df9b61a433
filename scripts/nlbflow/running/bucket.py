"""A run whose data, results and logs lie in a bucket (S3), by Snakemake's `--default-storage-provider s3`.

Snakemake's plugin brings the inputs of a job into a folder and takes its outputs from there. It knows nothing of
stamps, seals, checkpoints and the hold on the results. These go through here, under the names that they have in a run's
folder.
"""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cache, cached_property
from pathlib import Path
from typing import BinaryIO

from nlbflow.errors import NlbflowError

# Tells a run's processes where its bucket is.
VARIABLE = "NLBFLOW_BUCKET"
# The names that the SDK reads, for what the plugin takes from its own variables or from the command line.
SETTINGS = {
    "endpoint_url": "AWS_ENDPOINT_URL_S3",
    "region": "AWS_DEFAULT_REGION",
    "access_key": "AWS_ACCESS_KEY_ID",
    "secret_key": "AWS_SECRET_ACCESS_KEY",
    "token": "AWS_SESSION_TOKEN",
    "retries": "AWS_MAX_ATTEMPTS",
}
MISSING = ("404", "NoSuchKey")
TAKEN = ("412", "PreconditionFailed", "409", "ConditionalRequestConflict")
REFUSED = ("400", "401", "403", "AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken",
           "SignatureDoesNotMatch")  # fmt: skip


class Taken(Exception):
    """An object is not as a conditional write expected it."""


@dataclass(frozen=True)
class Found:
    """An object of the bucket: its ETag, which changes with its content, when it was written, its bytes."""

    etag: str
    modified: datetime
    size: int


class Bucket:
    """The part of a bucket below a prefix; `name` means what `results/...` means in a run's folder.

    Args:
        bucket: the bucket's name.
        prefix: what the keys begin with, with a slash at its end; may be empty.
        local: the folder of the plugin's local copies of that part.
    """

    def __init__(self, bucket: str, prefix: str, local: str | Path) -> None:
        self.bucket, self.prefix, self.local = bucket, prefix, Path(local)

    @classmethod
    def at(cls, url: str | None, copies: Path) -> "Bucket":
        """The part of a bucket that `--default-storage-prefix` names; `copies` is the plugin's folder.

        Raises:
            NlbflowError: it names no bucket.
        """
        name, _, prefix = (url or "").removeprefix("s3://").strip("/").partition("/")
        if not name or not url.startswith("s3://"):
            raise NlbflowError(f"--default-storage-prefix {url!r} names no bucket; give s3://BUCKET/FOLDER.")
        return cls(name, prefix and f"{prefix}/", (copies / name / prefix).absolute())

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def lead_jobs(self, settings: object) -> None:
        """Let the jobs that this process starts find the bucket; `settings` are the plugin's."""
        os.environ[VARIABLE] = json.dumps({"bucket": self.bucket, "prefix": self.prefix, "local": str(self.local)})
        for setting, variable in SETTINGS.items():
            if value := getattr(settings, setting, None):
                os.environ[variable] = str(value)

    def name_of(self, path: str | Path) -> str:
        """The name of what has a local copy at `path`."""
        path = Path(path).absolute()
        return path.relative_to(self.local).as_posix() if path.is_relative_to(self.local) else str(path)

    @cached_property
    def _client(self):
        import boto3  # the plugin depends on it; without a bucket, nothing needs it
        from botocore.config import Config

        # in a job's log, it would say where it found the keys
        logging.getLogger("botocore").setLevel(logging.WARNING)
        # as the plugin, because only AWS's own servers know its newer checksums
        plain = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
        # not the default session, which would keep the first credentials that it is asked for
        return boto3.Session().client("s3", config=Config(retries={"mode": "standard"}, **plain))

    @contextmanager
    def _asking(self) -> Iterator[dict]:
        """Turn what the SDK raises into one sentence; the arguments that every request needs."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

        keys = "set SNAKEMAKE_STORAGE_S3_ACCESS_KEY and SNAKEMAKE_STORAGE_S3_SECRET_KEY"
        try:
            yield {"Bucket": self.bucket}
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "unknown"))
            if code in TAKEN:
                raise Taken from error
            if code == "NoSuchBucket":
                raise NlbflowError(
                    f"there is no bucket {self.bucket}; make it, or correct --default-storage-prefix."
                ) from error
            if code in REFUSED:
                raise NlbflowError(
                    f"the server of {self} refuses these credentials ({code}); {keys} to ones that may read and write "
                    "there."
                ) from error
            raise NlbflowError(f"the server of {self} answers {code}; run again when it has recovered.") from error
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise NlbflowError(f"no credentials for {self} were found; {keys}.") from error
        # a ValueError: an address without https:// or http://
        except (BotoCoreError, Boto3Error, ValueError) as error:
            raise NlbflowError(
                f"{self} cannot be reached ({error}); check the network and SNAKEMAKE_STORAGE_S3_ENDPOINT_URL, then "
                "run again."
            ) from error

    def read(self, name: str) -> bytes | None:
        """An object's content; None if it does not exist."""
        with self._asking() as asked:
            try:
                return self._client.get_object(**asked, Key=self.prefix + name)["Body"].read()
            except self._client.exceptions.NoSuchKey:
                return None

    def write(self, name: str, content: bytes | BinaryIO, **condition: str) -> str:
        """Write an object whole, and return its ETag.

        Args:
            condition: `IfMatch="..."` or `IfNoneMatch="*"`.

        Raises:
            Taken: the condition does not hold.
        """
        with self._asking() as asked:
            return self._client.put_object(**asked, Key=self.prefix + name, Body=content, **condition)["ETag"]

    def remove(self, name: str) -> None:
        with self._asking() as asked:
            self._client.delete_object(**asked, Key=self.prefix + name)

    def move(self, name: str, to: str) -> None:
        """Move an object, or all below a folder."""
        for found in self.below(name):
            with self._asking() as asked:
                source = {**asked, "Key": self.prefix + found}
                self._client.copy(source, self.bucket, self.prefix + to + found.removeprefix(name))
                self._client.delete_object(**source)

    def has(self, name: str) -> bool:
        """Whether an object, or a folder with objects below it, has that name."""
        return bool(self.below(name))

    def children(self, folder: str) -> list[str]:
        """The names of what lies in a folder: objects and folders."""
        return sorted({"/".join(name.split("/")[: folder.count("/") + 2]) for name in self.below(folder + "/")})

    def bring(self, path: Path) -> None:
        """Get what another worker left for a job that works at `path`, if one has."""
        if (content := self.read(self.name_of(path))) is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def leave(self, path: Path) -> None:
        """Leave a file that no rule makes, and Snakemake does not store, for other workers."""
        if path.is_file():
            self.write(self.name_of(path), path.read_bytes())

    def below(self, name: str = "") -> dict[str, Found]:
        """What the object is, or the objects below it if it is a folder, by name; with "", all."""
        found = {}
        with self._asking() as asked:
            for page in self._client.get_paginator("list_objects_v2").paginate(**asked, Prefix=self.prefix + name):
                for entry in page.get("Contents", []):
                    key = entry["Key"].removeprefix(self.prefix)
                    if not name or key == name or key.startswith(name.rstrip("/") + "/"):
                        found[key] = Found(entry["ETag"], entry["LastModified"], entry["Size"])
        return found

    def ask(self, name: str) -> tuple[Found | None, datetime]:
        """What an object is, None if it does not exist; and the time by the server's clock."""
        from botocore.exceptions import ClientError

        with self._asking() as asked:
            try:
                answer = self._client.head_object(**asked, Key=self.prefix + name)
                found = Found(answer["ETag"], answer["LastModified"], answer["ContentLength"])
            except ClientError as error:
                answer, found = error.response, None
                if str(answer["Error"]["Code"]) not in MISSING:
                    raise
        return found, _date(answer)

    def modified(self, name: str) -> float | None:
        """When an object, or the last one in a folder, was written, in seconds by the server's clock."""
        return max((found.modified.timestamp() for found in self.below(name).values()), default=None)

    def now(self) -> float:
        """The time by the server's clock, in whole seconds since the epoch."""
        with self._asking() as asked:
            answer = self._client.list_objects_v2(**asked, Prefix=self.prefix, MaxKeys=1)
        return _date(answer).timestamp()


def _date(answer: dict) -> datetime:
    """When the server answered, by its clock."""
    return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])


@cache
def bucket_of_run() -> Bucket | None:
    """The bucket of the run that this process belongs to; None if its results lie in a folder."""
    told = os.environ.get(VARIABLE)
    return Bucket(**json.loads(told)) if told else None


# a process and its parent cannot share connections
os.register_at_fork(after_in_child=bucket_of_run.cache_clear)
