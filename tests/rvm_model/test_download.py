"""Downloads, against a real HTTP server on this machine."""

from __future__ import annotations

import base64
import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rvm_model.download import DownloadError, download

CONTENT = bytes(range(256)) * 20_000


class Server(ThreadingHTTPServer):
    """Serves CONTENT with ranges; its attributes say how it misbehaves."""

    etag: str | None = '"one"'
    modified: str | None = None
    offset_error = 0
    cut_after: int | None = None
    md5 = base64.b64encode(hashlib.md5(CONTENT).digest()).decode()

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/weights.npz"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args) -> None:
        pass

    def do_GET(self) -> None:
        if self.path != "/weights.npz":
            self.send_error(404)
            return
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        start = 0
        tag = self.headers.get("If-Range")
        if wanted and (tag is None or tag in (self.server.etag, self.server.modified)):
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted).group(1))
            if start >= len(CONTENT):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start -= self.server.offset_error
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT) - start))
        if self.server.etag:
            self.send_header("ETag", self.server.etag)
        if self.server.modified:
            self.send_header("Last-Modified", self.server.modified)
        self.send_header("x-goog-hash", f"crc32c=AAAAAA==,md5={self.server.md5}")
        self.end_headers()
        self.wfile.write(CONTENT[start : self.server.cut_after])


@pytest.fixture
def server():
    with Server() as instance:
        thread = threading.Thread(target=instance.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield instance
        instance.shutdown()
        thread.join()


def fetch(server, path):
    return download(server.url, path, progress=False, timeout_s=5)


def test_a_file_arrives_whole_and_leaves_nothing_beside_it(server, tmp_path):
    path = fetch(server, tmp_path / "new" / "weights.npz")
    assert path.read_bytes() == CONTENT
    assert [item.name for item in path.parent.iterdir()] == ["weights.npz"]


@pytest.mark.parametrize(
    ("etag", "modified"), [('"one"', None), (None, "Sat, 21 Nov 2026 00:00:00 GMT"), ('W/"weak"', None), (None, None)]
)
def test_a_broken_download_goes_on_where_it_stopped(server, tmp_path, etag, modified):
    path = tmp_path / "weights.npz"
    server.etag, server.modified = etag, modified
    server.cut_after = 3_000_000
    with pytest.raises(DownloadError, match="again to go on"):
        fetch(server, path)
    assert not path.exists()
    server.cut_after = None
    assert fetch(server, path).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=3000000-"]


def test_a_file_that_changed_meanwhile_is_fetched_anew(server, tmp_path):
    path = tmp_path / "weights.npz"
    server.cut_after = 3_000_000
    with pytest.raises(DownloadError):
        fetch(server, path)
    server.cut_after, server.etag = None, '"two"'
    assert fetch(server, path).read_bytes() == CONTENT


def test_a_wrong_md5_is_refused_and_the_bytes_are_dropped(server, tmp_path):
    server.md5 = base64.b64encode(b"0" * 16).decode()
    with pytest.raises(DownloadError, match="the server states"):
        fetch(server, tmp_path / "weights.npz")
    assert not (tmp_path / "weights.npz").exists()
    assert not (tmp_path / "weights.npz.part").exists()


def test_a_partial_file_that_was_complete_already_is_taken(server, tmp_path):
    (tmp_path / "weights.npz.part").write_bytes(CONTENT)
    assert fetch(server, tmp_path / "weights.npz").read_bytes() == CONTENT
    assert [item.name for item in tmp_path.iterdir()] == ["weights.npz"]


def test_a_partial_file_longer_than_the_servers_is_fetched_anew(server, tmp_path):
    (tmp_path / "weights.npz.part").write_bytes(CONTENT + b"more")
    assert fetch(server, tmp_path / "weights.npz").read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT) + 4}-", None]


def test_a_part_from_another_place_is_not_stitched_in(server, tmp_path):
    (tmp_path / "weights.npz.part").write_bytes(CONTENT[:500_000])
    server.offset_error = 100
    assert fetch(server, tmp_path / "weights.npz").read_bytes() == CONTENT


def test_a_present_file_is_not_fetched_again(server, tmp_path):
    (tmp_path / "weights.npz").write_bytes(b"mine")
    assert fetch(server, tmp_path / "weights.npz").read_bytes() == b"mine"
    assert server.ranges == []


def test_the_servers_refusal_is_told(server, tmp_path):
    with pytest.raises(DownloadError, match="answered 404"):
        download(server.url + "x", tmp_path / "x", progress=False)


def test_an_unreachable_server_is_told(tmp_path):
    with pytest.raises(DownloadError, match="Connection refused"):
        download("http://127.0.0.1:9/x", tmp_path / "x", progress=False)


def test_only_http_is_fetched(tmp_path):
    with pytest.raises(DownloadError, match="expected an http or https address"):
        download("file:///etc/hostname", tmp_path / "x", progress=False)
