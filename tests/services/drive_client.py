"""Uses the Drive server of the tests through Google's own client, and checks every answer.

    python3 drive_client.py ENDPOINT CREDENTIALS.json FOLDER

Prints, as JSON, what the test compares with what the server has.
"""

import hashlib
import io
import json
import os
import sys

import google.oauth2.credentials
import google.oauth2.service_account
import google_auth_httplib2
import httplib2
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError
from googleapiclient.http import MediaIoBaseDownload, MediaIoBaseUpload

ENDPOINT, CREDENTIALS, FOLDER = sys.argv[1:]
ALL = {"supportsAllDrives": True}
LIST = {"supportsAllDrives": True, "includeItemsFromAllDrives": True}
DATA = bytes((i * 31 + (i >> 8)) % 256 for i in range(1_000_003))


class Http(httplib2.Http):
    """Uploads are sent by https whatever the endpoint is: they are brought back here."""

    def request(self, uri, *args, **kwargs):
        for origin in ["https://www.googleapis.com", ENDPOINT.replace("http:", "https:")]:
            uri = uri.replace(origin, ENDPOINT)
        assert uri.startswith(ENDPOINT), uri
        return super().request(uri, *args, **kwargs)


def connect():
    with open(CREDENTIALS) as file:
        info = json.load(file)
    if info["type"] == "service_account":
        scopes = ["https://www.googleapis.com/auth/drive"]
        credentials = google.oauth2.service_account.Credentials.from_service_account_info(info, scopes=scopes)
    else:
        credentials = google.oauth2.credentials.Credentials(
            None,
            refresh_token=info["refresh_token"],
            token_uri=info["token_uri"],
            client_id=info["client_id"],
            client_secret=info["client_secret"],
        )
    http = Http()
    # 308 is how uploads go on, no redirect.
    http.redirect_codes = http.redirect_codes - {308}
    http = google_auth_httplib2.AuthorizedHttp(credentials, http=http)
    options = {"api_endpoint": ENDPOINT + "/drive/v3/"}
    return build("drive", "v3", http=http, client_options=options, static_discovery=True)


def refused(status, reason, request):
    """The request must fail, and the client must understand why."""
    try:
        answer = request.execute()
    except HttpError as error:
        assert error.resp.status == status, error
        assert error.error_details[0]["reason"] == reason, error.error_details
        return
    raise AssertionError(f"not refused: {answer}")


def pages(files, **arguments):
    request = files.list(**arguments)
    found = []
    while request is not None:
        answer = request.execute()
        assert answer["incompleteSearch"] is False
        found.append(answer["files"])
        request = files.list_next(request, answer)
    return found


def main():
    drive = connect()
    files = drive.files()

    about = drive.about().get(fields="user,storageQuota").execute()
    assert about["user"]["me"] is True and int(about["storageQuota"]["usage"]) >= 0, about

    folder = files.create(
        body={"name": "job", "mimeType": "application/vnd.google-apps.folder", "parents": [FOLDER]}, **ALL
    ).execute()
    assert {"kind", "id", "name", "mimeType"} <= folder.keys() <= {
        "kind", "id", "name", "mimeType", "driveId", "teamDriveId"}, folder

    ids = files.generateIds(count=3, space="drive").execute()["ids"]
    assert len(set(ids)) == 3

    # A resumable upload in chunks, of a size that is not known before its end.
    class Unknown(MediaIoBaseUpload):
        def size(self):
            return None

        def has_stream(self):
            return False

    media = Unknown(io.BytesIO(DATA), "application/gzip", chunksize=256 << 10, resumable=True)
    body = {"id": ids[0], "name": "it's a \\ file", "parents": [folder["id"]], "appProperties": {"pgkeep": "1"}}
    fields = "id,name,size,md5Checksum,sha256Checksum,trashed,mimeType,parents,appProperties,createdTime"
    request = files.create(body=body, media_body=media, fields=fields, **ALL)
    progress = []
    answer = None
    while answer is None:
        status, answer = request.next_chunk()
        progress.append(status.resumable_progress if status else None)
    assert progress == [262144, 524288, 786432, None], progress
    assert answer["id"] == ids[0] and answer["size"] == str(len(DATA)), answer
    assert answer["md5Checksum"] == hashlib.md5(DATA).hexdigest()
    assert answer["sha256Checksum"] == hashlib.sha256(DATA).hexdigest()
    assert answer["trashed"] is False and answer["mimeType"] == "application/gzip"
    assert answer["parents"] == [folder["id"]] and answer["appProperties"] == {"pgkeep": "1"}

    # One of a known size, one in a single request, an empty one.
    for name, data, resumable in [("known", DATA[:300_000], True), ("small", b"small \n\r\n--x", False), ("empty", b"", True)]:
        media = MediaIoBaseUpload(io.BytesIO(data), "text/plain", chunksize=256 << 10, resumable=resumable)
        body = {"name": name, "parents": [folder["id"]]}
        done = files.create(body=body, media_body=media, fields="size,md5Checksum", **ALL).execute()
        assert done == {"size": str(len(data)), "md5Checksum": hashlib.md5(data).hexdigest()}, done

    # Read in ranges.
    target = io.BytesIO()
    download = MediaIoBaseDownload(target, files.get_media(fileId=ids[0], **ALL), chunksize=300_000)
    done, ranges = False, 0
    while not done:
        _, done = download.next_chunk()
        ranges += 1
    assert target.getvalue() == DATA and ranges == 4, ranges

    # Found by name, by property and by type; three of four on the first page.
    inside = f"'{folder['id']}' in parents and trashed = false"
    by_name = pages(files, q=inside + " and name = 'it\\'s a \\\\ file'", **LIST)
    assert [[file["id"] for file in page] for page in by_name] == [[ids[0]]], by_name
    tagged = pages(files, q=inside + " and appProperties has { key='pgkeep' and value='1' }", **LIST)
    assert [[file["id"] for file in page] for page in tagged] == [[ids[0]]], tagged
    texts = pages(files, q=inside + " and (mimeType = 'text/plain' or not name contains 'it')", **LIST)
    assert sorted(file["name"] for page in texts for file in page) == ["empty", "known", "small"], texts
    listed = pages(files, q=inside, pageSize=3, orderBy="name desc", fields="nextPageToken,incompleteSearch,files(name)", **LIST)
    assert [[file["name"] for file in page] for page in listed] == [["small", "known", "it's a \\ file"], ["empty"]], listed

    # Refused, and the client reads the reasons.
    used = {"id": ids[0], "name": "again", "parents": [folder["id"]]}
    refused(409, "fileIdInUse", files.create(body=used, **ALL))
    refused(400, "invalid", files.create(body={"id": "made-up", "parents": [folder["id"]]}, **ALL))
    refused(404, "notFound", files.get(fileId=ids[2], **ALL))
    refused(404, "notFound", files.list(q=f"'{ids[2]}' in parents", **LIST))
    refused(400, "invalid", files.list(q="name is 'x'", **LIST))
    refused(400, "invalid", files.list(pageToken="made-up", **LIST))
    refused(400, "invalidParameter", files.get(fileId=ids[0], fields="id,checksum", **ALL))
    long = {"name": "long", "parents": [folder["id"]], "appProperties": {"key": "x" * 122}}
    refused(400, "invalid", files.create(body=long, **ALL))

    # Renamed, moved, put into the trash and out of it, deleted.
    other = files.create(
        body={"name": "other", "mimeType": "application/vnd.google-apps.folder", "parents": [FOLDER]}, **ALL
    ).execute()
    moved = files.update(
        fileId=ids[0], body={"name": "moved"}, addParents=other["id"], removeParents=folder["id"], fields="name,parents",
        **ALL,
    ).execute()
    assert moved == {"name": "moved", "parents": [other["id"]]}, moved
    files.update(fileId=folder["id"], body={"trashed": True}, **ALL).execute()
    small = pages(files, q=f"'{folder['id']}' in parents and trashed = true", **LIST)
    assert len(small[0]) == 3, "what is in a folder in the trash is in the trash"
    files.delete(fileId=folder["id"], **ALL).execute()
    refused(404, "notFound", files.get(fileId=folder["id"], **ALL))
    refused(404, "notFound", files.list(q=inside, **LIST))
    print(json.dumps({"moved": ids[0], "sha256": hashlib.sha256(DATA).hexdigest()}))


main()
sys.stdout.flush()
# Some builds of the libraries that it loaded crash while the interpreter is taken down.
os._exit(0)
