"""Downloads, against a server on loopback: licence, resuming, checksum, safe unpacking, nothing half written."""

import errno
import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from diffect.data.sources import download


def archive(members: dict[str, bytes], extra: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in extra:
            tar.addfile(info)
    return buffer.getvalue()


SET = {"bottle/train/good/000.png": b"x" * 3000, "bottle/test/good/000.png": b"y", "readme.txt": b"words"}


class Server:
    """Serves one body; `ranges`: whether it knows Range, `stop`: it hangs up after so many bytes."""

    def __init__(self) -> None:
        self.body, self.ranges, self.stop = archive(SET), True, None
        self.asked: list[str | None] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wanted = self.headers.get("Range")
                server.asked.append(wanted)
                start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.ranges else 0
                if start >= len(server.body):
                    self.send_error(416)
                    return
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(server.body) - start))
                self.end_headers()
                self.wfile.write(server.body[start:][: server.stop])

            def log_message(self, *arguments: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/set.tar.xz"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.body).hexdigest()

    def fetch(self, root: Path) -> Path:
        return download.fetch("mvtec_ad", root, True, self.url, self.sha256)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


def held(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_download_is_unpacked_and_tidied_up(server: Server, tmp_path: Path) -> None:
    assert server.fetch(tmp_path / "data/set") == tmp_path / "data/set"
    assert held(tmp_path) == sorted(f"data/set/{name}" for name in SET)
    assert (tmp_path / "data/set/readme.txt").read_bytes() == b"words"


def test_the_licence_comes_first(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="accept_license=true"):
        download.fetch("mvtec_ad", tmp_path / "set", False, server.url)
    assert "CC BY-NC-SA 4.0" in capsys.readouterr().out
    assert server.asked == [] and held(tmp_path) == []


def test_the_defaults_are_the_official_archive() -> None:
    official = download.DATA_SETS["mvtec_ad"]
    assert official.url.startswith("https://") and official.url.endswith("/mvtec_anomaly_detection.tar.xz")
    assert len(official.sha256) == 64 and "Bergmann" in official.title and "5354" in official.title
    with pytest.raises(ValueError, match="download=visa is not known"):
        download.fetch("visa", accept_license=True)


@pytest.mark.parametrize("ranges", [True, False])
def test_an_interrupted_download_goes_on(server: Server, tmp_path: Path, ranges: bool) -> None:
    server.stop, server.ranges = 200, ranges
    with pytest.raises(ValueError, match=r"the connection ended at 200 of .* 200 bytes are kept .*again"):
        server.fetch(tmp_path / "set")
    assert held(tmp_path) == ["set.tar.xz.diffect-part"]
    server.stop = None
    server.fetch(tmp_path / "set")
    assert server.asked == [None, "bytes=200-"] and len(held(tmp_path / "set")) == 3


def test_a_part_that_is_complete_or_too_long(server: Server, tmp_path: Path) -> None:
    part = tmp_path / "set.tar.xz.diffect-part"
    part.write_bytes(server.body + b"more than there is")
    with pytest.raises(ValueError, match="it is removed; run the command again"):
        server.fetch(tmp_path / "set")
    part.write_bytes(server.body)
    server.fetch(tmp_path / "set")
    assert len(held(tmp_path)) == 3 and len(server.asked) == 2


def test_an_archive_fetched_by_hand_needs_no_network_and_is_kept(server: Server, tmp_path: Path) -> None:
    (tmp_path / "set.tar.xz").write_bytes(server.body)
    (tmp_path / "set.tar.xz.part").write_bytes(b"a browser's")
    server.fetch(tmp_path / "set")
    assert server.asked == [] and len(held(tmp_path)) == 5
    (tmp_path / "set.tar.xz").write_bytes(b"another release")
    with pytest.raises(ValueError, match="it is damaged or another file; give sha256= of the archive that you mean"):
        server.fetch(tmp_path / "other")
    assert (tmp_path / "set.tar.xz").read_bytes() == b"another release"


def test_a_download_with_another_checksum_is_removed(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"has SHA-256 {server.sha256}, not 00"):
        download.fetch("mvtec_ad", tmp_path / "set", True, server.url, "00" * 32)
    assert held(tmp_path) == []


def test_an_unreachable_server_says_what_to_do(server: Server, tmp_path: Path) -> None:
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(ValueError, match=r"cannot be fetched .*refused.*by hand and put it at .*set\.tar\.xz"):
        server.fetch(tmp_path / "set")
    with pytest.raises(ValueError, match="must begin with https"):
        download.fetch("mvtec_ad", tmp_path / "set", True, "file:///etc/passwd", "00")


def test_a_missing_page_is_named(server: Server, tmp_path: Path) -> None:
    server.body = b""
    with pytest.raises(ValueError, match="cannot be fetched"):
        server.fetch(tmp_path / "set")


def test_a_root_in_use_is_left_alone(server: Server, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set/mine.txt").write_text("")
    with pytest.raises(ValueError, match="is not empty"):
        server.fetch(tmp_path / "set")
    (tmp_path / "set/mine.txt").unlink()
    server.fetch(tmp_path / "set")
    assert len(held(tmp_path / "set")) == 3


def link(name: str, kind: bytes, to: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


@pytest.mark.parametrize(
    ("members", "extra"),
    [
        ({"../out.txt": b"x"}, ()),
        ({"bottle/../../out.txt": b"x"}, ()),
        ({"/tmp/out.txt": b"x"}, ()),
        ({"..\\out.txt": b"x"}, ()),
        ({"C:/out.txt": b"x"}, ()),
        ({}, (link("bottle/a", tarfile.SYMTYPE, "/etc/passwd"),)),
        ({}, (link("bottle/a", tarfile.LNKTYPE, "../../x"),)),
        ({}, (link("bottle/a", tarfile.FIFOTYPE, ""),)),
    ],
)
def test_an_unsafe_archive_is_refused_whole(
    server: Server, tmp_path: Path, members: dict[str, bytes], extra: tuple[tarfile.TarInfo, ...]
) -> None:
    server.body = archive(SET | members, extra)
    with pytest.raises(ValueError, match="nothing was unpacked"):
        server.fetch(tmp_path / "deep/set")
    assert held(tmp_path) == ["deep/set.tar.xz.diffect-part"]


def test_what_is_no_archive_is_named(server: Server, tmp_path: Path) -> None:
    for body in (b"<html>sorry</html>", archive(SET)[:150], archive(SET)[:-40]):
        server.body = body
        with pytest.raises(ValueError, match=r"is not a readable \.tar\.xz archive"):
            server.fetch(tmp_path / "set")
        (tmp_path / "set.tar.xz.diffect-part").unlink()
        assert held(tmp_path) == []


def test_a_folder_around_the_categories_is_taken_off(server: Server, tmp_path: Path) -> None:
    server.body = archive({f"mvtec/{name}": content for name, content in SET.items()})
    server.fetch(tmp_path / "set")
    assert held(tmp_path / "set") == sorted(SET)


def test_a_full_disk_is_named(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tarfile, "copyfileobj", full)
    with pytest.raises(ValueError, match=r"No space left on device.*free some space"):
        server.fetch(tmp_path / "set")
    assert held(tmp_path) == ["set.tar.xz.diffect-part"]  # paid for already; the next call unpacks it
    monkeypatch.undo()
    server.fetch(tmp_path / "set")
    assert len(held(tmp_path)) == 3 and len(server.asked) == 2  # the second time nothing is left to send


def test_a_folder_that_cannot_be_made_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be written"):
        server.fetch(tmp_path / "file/set")
