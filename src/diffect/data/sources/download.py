"""Fetching a public data set once: licence, resumable download, checksum, safe unpacking."""

import errno
import hashlib
import http.client
import lzma
import secrets
import shutil
import tarfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from diffect.data.sources import folders
from diffect.data.sources.layout import Layout

CHUNK = 1 << 20
TIMEOUT = 30  # seconds without a byte


@dataclass(frozen=True)
class DataSet:
    """A public archive and the terms on which its owners offer it."""

    title: str
    license: str
    url: str
    sha256: str
    size: str


DATA_SETS = {
    "mvtec_ad": DataSet(
        title="MVTec AD (Bergmann, Fauser, Sattlegger, Steger: MVTec AD - A Comprehensive Real-World "
        "Dataset for Unsupervised Anomaly Detection, CVPR 2019): 15 categories, 5354 images",
        license="CC BY-NC-SA 4.0 (https://creativecommons.org/licenses/by-nc-sa/4.0/): name the authors, no "
        "commercial use, share what you derive under the same terms",
        url="https://www.mydrive.ch/shares/150996/b52ecdcbf521176e9db9c731f2304b27/download/"
        "420938113-1629960298/mvtec_anomaly_detection.tar.xz",
        sha256="cf4313b13603bec67abb49ca959488f7eedce2a9f7795ec54446c649ac98cd3d",
        size="4.9 GB, and as much again unpacked",
    )
}


def fetch(
    name: str,
    root: str | Path | None = None,
    accept_license: bool = False,
    url: str | None = None,
    sha256: str | None = None,
) -> Path:
    """Downloads, checks and unpacks a data set into the folder `root` (default ./data/<name>), which it
    returns.

    Run again after an interruption it goes on where it stopped; an archive that already lies beside `root`,
    fetched by hand, is taken as it is. url, sha256: another source for it. Raises ValueError with the next
    step to take.
    """
    if name not in DATA_SETS:
        raise ValueError(f"download={name} is not known; there is {', '.join(DATA_SETS)}")
    data = DATA_SETS[name]
    url, sha256 = url or data.url, (sha256 or data.sha256).lower()
    if not accept_license:
        print(f"{data.title}\n{data.size}\nlicence: {data.license}")
        raise ValueError(
            f"the licence of {name} is not accepted yet; this accepts it: "
            f"diffect data download={name} accept_license=true"
        )
    target = Path(root or Path("data") / name).expanduser()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"root={target} exists and is not empty; give another root=, or remove it")
    archive = target.parent / (PurePosixPath(urllib.parse.urlsplit(url).path).name or f"{name}.tar.xz")
    with _disk(archive):
        target.parent.mkdir(parents=True, exist_ok=True)
        if not archive.exists():
            download(url, archive)
        verify(archive, sha256)
        unpack(archive, target)
        archive.unlink()
    return target


def download(url: str, path: Path) -> None:
    """Fetches `url` into `path`, by way of `path`.part, which a later call continues (HTTP Range)."""
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"url={url} is not allowed; it must begin with https:// or http://")
    part = path.with_name(f"{path.name}.part")
    have = part.stat().st_size if part.exists() else 0
    try:
        answer = _request(url, have)
        if answer is None:  # nothing after what is there: it is complete, or no beginning of this file
            have = 0 if _length(url) != have else have
            answer = None if have else _request(url, 0)
        if answer is not None:
            with answer:
                resumed = answer.status == 206
                length = answer.headers.get("Content-Length")
                total = None if length is None else int(length) + (have if resumed else 0)
                _receive(answer, part, resumed, total)
            if total is not None and part.stat().st_size < total:
                raise ConnectionError(f"the connection ended at {part.stat().st_size} of {total} bytes")
    except (OSError, http.client.HTTPException) as error:  # URLError and a lost connection are OSErrors
        reason = getattr(error, "reason", None) or error
        kept = f"{part.stat().st_size} bytes are kept in {part}; " if part.exists() else ""
        raise ValueError(
            f"{url} cannot be fetched ({reason}): {kept}run the same command again to go on, or fetch the "
            f"file by hand and put it at {path}"
        ) from error
    part.replace(path)


def verify(path: Path, sha256: str) -> None:
    """Compares a file's SHA-256; another one removes the file and raises ValueError."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        path.unlink()
        raise ValueError(
            f"{path} has SHA-256 {found}, not {sha256}: it is damaged or another file, and was removed; "
            f"run the command again"
        )


def unpack(archive: Path, target: Path) -> None:
    """Unpacks a .tar.xz archive into a new folder `target`, by way of a temporary one beside it.

    Only plain files and folders with relative names that stay inside are accepted; a link, a device, an
    absolute name or one with `..` raises ValueError and nothing is left. Owners and permissions are not taken
    over.
    """
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        temporary.mkdir()
        # As a stream: going back in an .xz file would decompress it from the start again. And by way of lzma, which
        # notices a truncated file; tarfile's own "r|xz" takes it for the end.
        with lzma.open(archive) as content, tarfile.open(fileobj=content, mode="r|") as tar:
            for member in tqdm(tar, "unpacking", unit="file", disable=None, leave=False):
                _extract(tar, member, temporary, archive)
        inner = temporary
        if len(held := folders.entries(temporary)) == 1 and held[0].is_dir() and not Layout().is_category(held[0]):
            inner = held[0]  # the archive holds the data set's folder, not its categories
        if target.is_dir():
            target.rmdir()  # empty, as `fetch` has seen
        inner.replace(target)
    except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise ValueError(f"{archive} is not a readable .tar.xz archive ({error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, archive: Path) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or "\\" in member.name or ":" in member.name:
        raise ValueError(f"{archive} holds {member.name!r}, a name that leads out of its folder; nothing was unpacked")
    if member.isdir():
        (folder / name).mkdir(parents=True, exist_ok=True)
        return
    source = tar.extractfile(member) if member.isreg() else None
    if source is None:
        raise ValueError(f"{archive} holds {member.name!r}, neither a plain file nor a folder; nothing was unpacked")
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("wb") as file:
        shutil.copyfileobj(source, file, CHUNK)


def _request(url: str, start: int) -> Any:
    """The answer from byte `start` on, or from 0 where the server knows no ranges; None for nothing there."""
    headers = {"User-Agent": "diffect", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:
            return None
        raise


def _length(url: str) -> int | None:
    request = urllib.request.Request(url, headers={"User-Agent": "diffect"}, method="HEAD")
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        length = answer.headers.get("Content-Length")
    return None if length is None else int(length)


def _receive(answer: Any, part: Path, resumed: bool, total: int | None) -> None:
    with _disk(part):
        file = part.open("ab" if resumed else "wb")
    with file, _bar(part, file.tell(), total) as bar:
        while chunk := answer.read(CHUNK):
            with _disk(part):
                file.write(chunk)
            bar.update(len(chunk))


def _bar(part: Path, done: int, total: int | None) -> Any:
    return tqdm(desc=part.stem, initial=done, total=total, unit="B", unit_scale=True, unit_divisor=1024, disable=None)


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    """Says in one sentence that the disk is full or the folder not writable."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = "free some space there and run the command again" if full else "give a root= that can be written"
        raise ValueError(f"{error.filename or path} cannot be written ({error.strerror or error}): {hint}") from error
