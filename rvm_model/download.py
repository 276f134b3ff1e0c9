"""Resumable download of a checkpoint over HTTP."""

from __future__ import annotations

import base64
import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from rvm_model.hashing import file_digest

CHUNK_BYTES = 1 << 20
"""Bytes per read; the granularity of the progress bar."""


class DownloadError(OSError):
    """A download that did not arrive whole. What did arrive is kept, and the next call goes on from there."""


def download(url: str, path: Path, *, progress: bool = True, timeout_s: float = 30.0) -> Path:
    """Download a file, going on where an earlier attempt stopped.

    The bytes go to `PATH.part`; the file appears under its own name only when it is complete. Where the server states
    an MD5 (Google Cloud Storage does), the file is checked against it.

    Args:
        url: an http or https address.
        path: where the file goes; its folder is made. An existing file is left as it is and returned.
        progress: show a progress bar on standard error.
        timeout_s: seconds without a byte after which the attempt ends.

    Returns:
        `path`.

    Raises:
        DownloadError: the server refused, the connection broke, or the bytes are not those the server announced.
    """
    if path.exists():
        return path
    if not url.startswith(("http://", "https://")):
        raise DownloadError(f"{url}: expected an http or https address")
    path.parent.mkdir(parents=True, exist_ok=True)
    part, tag_file = path.with_name(path.name + ".part"), path.with_name(path.name + ".part.etag")
    request = urllib.request.Request(url)
    have = part.stat().st_size if part.exists() else 0
    tag = tag_file.read_text() if tag_file.exists() else ""
    if have and tag:
        # If-Range: a file that changed on the server meanwhile is sent whole instead of being stitched to the old one.
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", tag)
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as response:
            _receive(response, part, tag_file, have, path.name, progress)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink()
            raise DownloadError(
                f"{url}: the partial file was longer than the server's; it was removed, try again"
            ) from error
        raise DownloadError(f"{url}: the server answered {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, DownloadError):
            raise
        raise DownloadError(f"{url}: {error}; run the command again to go on from {part}") from error
    os.replace(part, path)
    tag_file.unlink(missing_ok=True)
    return path


def _receive(
    response: http.client.HTTPResponse, part: Path, tag_file: Path, have: int, name: str, progress: bool
) -> None:
    resumed = response.status == http.client.PARTIAL_CONTENT
    start = have if resumed else 0
    length = response.headers.get("Content-Length")
    total = start + int(length) if length is not None else None
    tag_file.write_text(response.headers.get("ETag", ""))
    with (
        part.open("ab" if resumed else "wb") as file,
        tqdm(
            total=total,
            initial=start,
            unit="B",
            unit_scale=True,
            unit_divisor=1024,
            desc=name,
            disable=not progress,
        ) as bar,
    ):
        while chunk := response.read(CHUNK_BYTES):
            file.write(chunk)
            bar.update(len(chunk))
    size = part.stat().st_size
    if total is not None and size != total:
        raise DownloadError(f"{name}: got {size} of {total} bytes; run the command again to go on")
    _check_md5(response.headers.get_all("x-goog-hash") or [], part)


def _check_md5(stated: list[str], part: Path) -> None:
    hashes = [item.strip() for line in stated for item in line.split(",")]
    wanted = next((item.removeprefix("md5=") for item in hashes if item.startswith("md5=")), None)
    if wanted is None:
        return
    got = base64.b64encode(file_digest(part, "md5")).decode()
    if got != wanted:
        part.unlink()
        raise DownloadError(f"{part.name}: got MD5 {got}, the server states {wanted}; the file was removed, try again")
