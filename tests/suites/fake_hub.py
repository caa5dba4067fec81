"""A Hugging Face hub on this machine that has one dataset of one Parquet file."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

DATASET = "owner/tiny"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILE = "data/test-00000-of-00001.parquet"
_API = f"/api/datasets/{DATASET}"
_FILES = f"/datasets/{DATASET}/resolve/{COMMIT}/"


@contextmanager
def fake_hub(parquet: bytes) -> Iterator[str]:
    """Serve the file as split `test` of DATASET; gives the endpoint's address."""
    digest = hashlib.sha1(parquet, usedforsecurity=False).hexdigest()
    entry = {"type": "file", "path": FILE, "size": len(parquet), "oid": digest}
    folder = {"type": "directory", "path": "data", "size": 0, "oid": digest}
    about = {"id": DATASET, "sha": COMMIT, "siblings": [{"rfilename": FILE}]}
    known: dict[str, bytes] = {
        _API: json.dumps(about).encode(),
        f"{_API}/revision/main": json.dumps(about).encode(),
        f"{_API}/revision/{COMMIT}": json.dumps(about).encode(),
        f"{_API}/tree/{COMMIT}": json.dumps([folder]).encode(),
        f"{_API}/tree/{COMMIT}/data": json.dumps([entry]).encode(),
        _FILES + FILE: parquet,
    }

    class Hub(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            body = known.get(path)
            self.send_response(404 if body is None else 200)
            if body is None:
                ours = path.startswith(_FILES)
                self.send_header("X-Error-Code", "EntryNotFound" if ours else "RepoNotFound")
            self.send_header("ETag", f'"{digest}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body or b"")

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
