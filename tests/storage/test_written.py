"""A folder's manifest: what diffect wrote there is replaced, and nothing else is touched."""

import json
from pathlib import Path

import pytest

from diffect.storage import written


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def test_what_was_written_is_removed_with_the_folders_that_are_empty_then(tmp_path: Path) -> None:
    written.claim(tmp_path, ["scores.csv", "maps/sub/a.png", "maps/b.png", "never written"], "photos", "out")
    make(tmp_path, "scores.csv", "maps/sub/a.png", "maps/b.png")
    written.claim(tmp_path, ["scores.csv"], "photos", "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == [written.MANIFEST]


def test_a_strangers_file_is_named_and_all_stays(tmp_path: Path) -> None:
    written.claim(tmp_path / "out", ["maps/a.png"], "photos", "out")
    make(tmp_path / "out", "maps/a.png", "maps/mine.txt")
    with pytest.raises(ValueError, match=r"out is .*out, which holds maps/mine.txt, not written by diffect"):
        written.claim(tmp_path / "out", ["maps/a.png"], "photos", "out")
    written.remove(tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["maps", "mine.txt"]
    make(tmp_path, "file")
    with pytest.raises(ValueError, match=r"out is .*file, which is a file; give a new or an empty folder"):
        written.claim(tmp_path / "file", [], "photos", "out")


def test_files_of_the_system_are_no_strangers(tmp_path: Path) -> None:
    make(tmp_path, ".DS_Store", "Thumbs.db", "maps/desktop.ini")
    written.claim(tmp_path, ["scores.csv"], "photos", "out")
    written.remove(tmp_path)
    assert (tmp_path / "maps" / "desktop.ini").is_file()


@pytest.mark.parametrize("name", ["../kept.txt", "maps/../../kept.txt", "{}/kept.txt"])
def test_a_manifest_leads_nowhere_else(name: str, tmp_path: Path) -> None:
    make(tmp_path, "kept.txt", "out/a.png")
    (tmp_path / "out" / written.MANIFEST).write_text(json.dumps({"files": [name.format(tmp_path), "a.png"]}))
    written.remove(tmp_path / "out")
    assert (tmp_path / "kept.txt").is_file() and not (tmp_path / "out" / "a.png").exists()


def test_two_sources_of_one_name_have_two_folders(tmp_path: Path) -> None:
    for source, folder in (("/a/test", "test"), ("/b/test", "test-2"), ("/a/test", "test"), ("/c/test", "test-3")):
        chosen = written.free(tmp_path / "test", source)
        assert chosen == tmp_path / folder
        written.claim(chosen, [], source, "out")


def test_no_two_images_have_one_stem() -> None:
    names = ["a.png", "b/a.PNG", "a.bmp", "a.bmp.png", "A.png", "a.PNG", "a"]
    found = written.stems(names)
    assert list(found)[:3] == names[:3] and [found[name] for name in names[:3]] == ["a", "b/a", "a.bmp"]
    assert len({stem.casefold() for stem in found.values()}) == len(names)


def test_what_is_published_takes_the_place_of_what_was_published_before(tmp_path: Path) -> None:
    make(tmp_path / "report", "README.md")
    for names in (("table.md", "figures/old.pdf"), ("table.md", "figures/new.pdf")):
        with written.publishing(tmp_path / "report", "a study", "out") as made:
            make(made, *names)
    left = sorted(path.relative_to(tmp_path / "report").as_posix() for path in (tmp_path / "report").rglob("*.*"))
    assert left == ["README.md", "figures/new.pdf", "table.md", written.MANIFEST]
    with (
        pytest.raises(
            ValueError, match=r"out is .*report, which holds README.md, not written by diffect: give another"
        ),
        written.publishing(tmp_path / "report", "a study", "out") as made,
    ):
        make(made, "README.md", "table.md")
        (made / "README.md").write_text("ours")
    assert (tmp_path / "report" / "README.md").read_text() == "README.md"
    assert (tmp_path / "report" / "figures" / "new.pdf").is_file() and len(list(tmp_path.iterdir())) == 1
