"""Resumable download of a checkpoint over HTTP."""

from __future__ import annotations

import base64
import http.client
import re
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from rvm_model.hashing import file_digest

CHUNK_BYTES = 1 << 20
"""Bytes per read; the granularity of the progress bar."""


class DownloadError(OSError):
    """A download that did not arrive whole. The message says whether the next call goes on or starts anew."""


def download(url: str, path: Path, *, progress: bool = True, timeout_s: float = 30.0) -> Path:
    """Download a file, going on where an earlier attempt stopped.

    The bytes go to `PATH.part`; the file appears under its own name only when it is complete. A server that sends a
    part of the file says which (Content-Range), and by ETag or Last-Modified that it is still the same file; where it
    states an MD5 (Google Cloud Storage does), the file is checked against it.

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
    part, tag_file = path.with_name(path.name + ".part"), path.with_name(path.name + ".part.tag")
    try:
        if not _attempt(url, part, tag_file, path.name, progress, timeout_s):
            # What was there is not a beginning of the server's file.
            part.unlink()
            _attempt(url, part, tag_file, path.name, progress, timeout_s)
    except urllib.error.HTTPError as error:
        raise DownloadError(f"{url}: the server answered {error.code} {error.reason}") from error
    except DownloadError:
        raise
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise DownloadError(f"{url}: {error}; run the command again to go on from {part}") from error
    part.replace(path)
    tag_file.unlink(missing_ok=True)
    return path


def _attempt(url: str, part: Path, tag_file: Path, name: str, progress: bool, timeout_s: float) -> bool:
    """Fetch what is missing; False when the partial file does not fit the server's, so that it must start anew."""
    request = urllib.request.Request(url)
    have = part.stat().st_size if part.exists() else 0
    if have:
        request.add_header("Range", f"bytes={have}-")
        if tag_file.exists():
            # A file that changed on the server meanwhile is then sent whole.
            request.add_header("If-Range", tag_file.read_text())
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as response:
            start, total = _extent(response)
            if start not in (0, have):
                return False
            _receive(response, part, tag_file, start, total, name, progress)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        # Nothing is left to send when the earlier attempt ended between the last byte and the renaming.
        return error.headers.get("Content-Range", "").strip() == f"bytes */{have}"
    return True


def _extent(response: http.client.HTTPResponse) -> tuple[int, int | None]:
    """First byte that the response holds, and the length of the whole file where the server says it."""
    if response.status == http.client.PARTIAL_CONTENT:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
        if found is None:
            raise DownloadError(
                f"got a part of the file without saying which, Content-Range "
                f"{response.headers.get('Content-Range')!r}; expected bytes FIRST-LAST/TOTAL"
            )
        return int(found.group(1)), None if found.group(2) == "*" else int(found.group(2))
    length = response.headers.get("Content-Length")
    return 0, None if length is None else int(length)


def _receive(
    response: http.client.HTTPResponse, part: Path, tag_file: Path, start: int, total: int | None, name: str, bar: bool
) -> None:
    tag = response.headers.get("ETag", "")
    tag = tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")
    tag_file.unlink(missing_ok=True)
    if tag:
        tag_file.write_text(tag)
    with (
        part.open("ab" if start else "wb") as file,
        tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=name, disable=not bar) as shown,
    ):
        while chunk := response.read(CHUNK_BYTES):
            file.write(chunk)
            shown.update(len(chunk))
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
        raise DownloadError(f"{part.name}: got MD5 {got}, the server states {wanted}; it was removed, try again")
