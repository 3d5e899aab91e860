"""Fetching a public data set once: licence, resumable download, checksum, safe unpacking."""

import hashlib
import http.client
import lzma
import secrets
import shutil
import tarfile
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from diffect.data.sources import folders
from diffect.data.sources.layout import Layout
from diffect.storage.lock import lock

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
    """Download, check and unpack a data set; return its folder. After an interruption it continues where it stopped.

    Args:
        name: of `DATA_SETS`.
        root: the folder, by default data/NAME; an archive in the folder above it is unpacked, and stays there.
        accept_license: without it the licence is shown, and nothing is downloaded.
        url: of another source.
        sha256: of another archive.

    Raises:
        ValueError: says what to do next.
    """
    if name not in DATA_SETS:
        raise ValueError(f"download={name} is not known; there is {', '.join(DATA_SETS)}")
    data = DATA_SETS[name]
    url, sha256 = url or data.url, (sha256 or data.sha256).lower()
    if not accept_license:
        print(f"{data.title}\n{data.size}\nlicence: {data.license}")
        raise ValueError(
            f"the licence of {name} is not accepted yet; to accept it: diffect data download={name} accept_license=true"
        )
    target = Path(root or Path("data") / name).expanduser()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"root={target} exists and is not empty; give another root=, or remove it")
    by_hand = target.parent / (PurePosixPath(urllib.parse.urlsplit(url).path).name or f"{name}.tar.xz")
    part = by_hand.with_name(f"{by_hand.name}.diffect-part")  # a browser may be writing a .part
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if by_hand.exists():
            verify(by_hand, sha256, "give sha256= of the archive that you mean, or move it away")
            unpack(by_hand, target)
            return target
        with lock(part.with_name(f"{part.name}.lock"), wait=True):
            if not target.is_dir() or not any(target.iterdir()):  # another process may have done it meanwhile
                download(url, part, by_hand)
                _unpack_once(part, target, sha256)
    except OSError as error:
        raise ValueError(
            f"{error.filename or target} cannot be written ({error.strerror or error}): free some space there, or give "
            "another root="
        ) from error
    return target


def _unpack_once(part: Path, target: Path, sha256: str) -> None:
    """Unpack what was downloaded, and remove it then, or where it is not what was wanted."""
    try:
        verify(part, sha256, "it is removed; run the command again")
    except ValueError:
        part.unlink()
        raise
    unpack(part, target)
    part.unlink()


def download(url: str, part: Path, by_hand: Path) -> None:
    """Append the rest of `url` to `part` (HTTP Range); errors name `by_hand`, where a user can put the file."""
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"url={url} is not allowed; it must begin with https:// or http://")
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "diffect", "Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as answer:
            have = have if answer.status == 206 else 0
            total = have + int(answer.headers.get("Content-Length", 0))
            _receive(answer, part, have, total)
        if part.stat().st_size < total:
            raise ConnectionError(f"the connection ended at {part.stat().st_size} of {total} bytes")
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        if have and isinstance(error, urllib.error.HTTPError) and error.code == 416:
            return  # there is nothing after what is there; whether it is all that was wanted, the checksum says
        reason = getattr(error, "reason", None) or error
        kept = f"{part.stat().st_size} bytes are kept in {part}; " if part.exists() else ""
        raise ValueError(
            f"{url} cannot be fetched ({reason}): {kept}run the same command again to go on, or fetch the "
            f"file by hand and put it at {by_hand}"
        ) from error


def verify(path: Path, sha256: str, cure: str) -> None:
    """ValueError, which ends in the `cure`, unless the file has this SHA-256."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise ValueError(f"{path} has SHA-256 {found}, not {sha256}: it is damaged or another file; {cure}")


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
            members = tqdm(tar, "unpacking", unit="file", disable=None, leave=False)
            tar.extractall(temporary, members, filter=_checked)
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


def _checked(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo:
    """The member without owner and permissions; ValueError where it is no plain file or folder inside the archive."""
    name = PurePosixPath(member.name)
    outside = name.is_absolute() or ".." in name.parts or "\\" in member.name or ":" in member.name
    if outside or not (member.isdir() or member.isreg()):
        what = "a name that leads out of its folder" if outside else "neither a plain file nor a folder"
        raise ValueError(f"the archive holds {member.name!r}, {what}; nothing was unpacked")
    return tarfile.data_filter(member, folder)


def _receive(answer: Any, part: Path, have: int, total: int) -> None:
    """Write an answer to `part`, after its first `have` bytes."""
    bar = tqdm(desc=part.stem, initial=have, total=total or None, unit="B", unit_scale=True, disable=None)
    with part.open("ab" if have else "wb") as file, bar:
        while chunk := answer.read(CHUNK):
            file.write(chunk)
            bar.update(len(chunk))
