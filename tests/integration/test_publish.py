"""Results are copied to an S3 store, with the same bytes, and only what has changed."""

import filecmp
import json
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest

from project import Project

KEYS = {
    "SNAKEMAKE_STORAGE_S3_ACCESS_KEY": "test",
    "SNAKEMAKE_STORAGE_S3_SECRET_KEY": "testsecret",
}


@pytest.fixture
def store(serve_s3: Callable[..., str], tmp_path: Path) -> dict[str, str]:
    (tmp_path / "bucket").mkdir()
    endpoint = serve_s3("--auth-key", "test,testsecret")
    return {**KEYS, "SNAKEMAKE_STORAGE_S3_ENDPOINT_URL": endpoint}


def test_results_are_published(project: Project, store: dict[str, str], tmp_path: Path) -> None:
    project.configure(project.configuration | {"publish": "s3://bucket/runs/agn"})
    run = project.snakemake(target="published", environment=store)
    assert run.returncode == 0, run.output
    published = tmp_path / "bucket" / "runs" / "agn"
    manifest = json.loads((published / "manifest.json").read_text())
    for path in ("manifest.json", *manifest["files"]):
        assert filecmp.cmp(published / path, project.path(path), shallow=False), path
    assert not any(secret in run.output for secret in KEYS.values() if secret != "test")

    assert project.snakemake(target="published", environment=store).nothing_to_do
    name = f"lightcurves/{project.shards[0]}.parquet"
    client = boto3.client(
        "s3",
        endpoint_url=store["SNAKEMAKE_STORAGE_S3_ENDPOINT_URL"],
        aws_access_key_id=KEYS["SNAKEMAKE_STORAGE_S3_ACCESS_KEY"],
        aws_secret_access_key=KEYS["SNAKEMAKE_STORAGE_S3_SECRET_KEY"],
    )
    # The server itself has to delete it, as it remembers what it has listed.
    client.delete_object(Bucket="bucket", Key=f"runs/agn/{name}")
    again = project.snakemake(target="published", environment=store)
    assert again.returncode == 0, again.output
    assert again.jobs == {"publish_file": 1, "published": 1}, again.output
    assert filecmp.cmp(published / name, project.path(name), shallow=False)
