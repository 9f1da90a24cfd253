"""Downloads one file from Google Drive with Google's own client, and writes it to stdout.

    python3 drive_get.py ENDPOINT CREDENTIALS.json FOLDER_ID PATH
"""

import io
import os
import sys

import google.oauth2.service_account
import google_auth_httplib2
import httplib2
from googleapiclient.discovery import build
from googleapiclient.http import MediaIoBaseDownload

ENDPOINT, CREDENTIALS, FOLDER, PATH = sys.argv[1:]

scopes = ["https://www.googleapis.com/auth/drive"]
credentials = google.oauth2.service_account.Credentials.from_service_account_file(CREDENTIALS, scopes=scopes)
http = google_auth_httplib2.AuthorizedHttp(credentials, http=httplib2.Http())
options = {"api_endpoint": ENDPOINT + "/drive/v3/"}
files = build("drive", "v3", http=http, client_options=options, static_discovery=True).files()

found = FOLDER
for name in PATH.split("/"):
    query = f"name = '{name}' and '{found}' in parents and trashed = false"
    answer = files.list(q=query, supportsAllDrives=True, includeItemsFromAllDrives=True).execute()
    [one] = answer["files"]
    found = one["id"]

whole = io.BytesIO()
download = MediaIoBaseDownload(whole, files.get_media(fileId=found, supportsAllDrives=True), chunksize=8 << 20)
done = False
while not done:
    _, done = download.next_chunk()
sys.stdout.buffer.write(whole.getvalue())
sys.stdout.buffer.flush()
# Some builds of the libraries that it loaded crash while the interpreter is taken down.
os._exit(0)
