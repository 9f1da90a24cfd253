"""What Amazon's own client sees of a bucket. One JSON command a line comes in, one JSON answer a line goes out."""

import json
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError

endpoint, key, secret = sys.argv[1:]
client = boto3.client(
    "s3",
    endpoint_url=endpoint,
    aws_access_key_id=key,
    aws_secret_access_key=secret,
    region_name="us-east-1",
    config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 3}, read_timeout=60, connect_timeout=10),
)


def pages(operation, result, bucket):
    found = []
    for page in client.get_paginator(operation).paginate(Bucket=bucket):
        found += page.get(result, [])
    return found


def ready():
    client.list_buckets()
    return True


def create(bucket, lock):
    client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=lock)


def version(bucket):
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})


def objects(bucket):
    return [[item["Key"], item["Size"]] for item in pages("list_objects_v2", "Contents", bucket)]


def versions(bucket):
    return [[item["Key"], item["Size"]] for item in pages("list_object_versions", "Versions", bucket)]


def uploads(bucket):
    return [[item["Key"], item["UploadId"]] for item in pages("list_multipart_uploads", "Uploads", bucket)]


def parts(bucket, key, upload):
    found = []
    for page in client.get_paginator("list_parts").paginate(Bucket=bucket, Key=key, UploadId=upload):
        found += [part["Size"] for part in page.get("Parts", [])]
    return found


def get(bucket, key, path):
    """To a file: objects may be large."""
    with open(path, "wb") as file:
        for chunk in client.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(1 << 20):
            file.write(chunk)


def head(bucket, key):
    answer = client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    del answer["ResponseMetadata"]
    return json.loads(json.dumps(answer, default=str))


def put(bucket, key, body):
    client.put_object(Bucket=bucket, Key=key, Body=bytes.fromhex(body))


def put_many(bucket, keys, body):
    for key in keys:
        put(bucket, key, body)


def begin(bucket, key, body):
    """An upload that is never ended."""
    upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=bytes.fromhex(body))
    return upload


def abort(bucket, key, upload):
    client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)


def delete(bucket, key):
    client.delete_object(Bucket=bucket, Key=key)


for line in sys.stdin:
    command = json.loads(line)
    try:
        answer = {"ok": globals()[command["do"]](*command["with"])}
    except (ClientError, HTTPClientError) as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)
