"""Without a home folder there is one sentence, and with DIFFECT_CACHE nothing is kept in the home folder."""

import os
import pwd
from pathlib import Path

import pytest

from diffect.storage.caches import LIBRARIES, cache_root, settle_libraries


def test_without_a_home_folder_the_sentence_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: int) -> None:  # a container's user without an entry in /etc/passwd
        raise KeyError

    monkeypatch.delenv("HOME")
    monkeypatch.delenv("DIFFECT_CACHE", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(ValueError, match="no home folder to keep caches in: set DIFFECT_CACHE"):
        cache_root()
    monkeypatch.setenv("DIFFECT_CACHE", str(tmp_path))
    assert cache_root() == tmp_path


def test_libraries_share_the_cache_where_the_home_folder_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in LIBRARIES:
        monkeypatch.setenv(variable, "")
        del os.environ[variable]  # so that what is set here is undone
    monkeypatch.setenv("DIFFECT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    settle_libraries()
    assert not LIBRARIES.keys() & os.environ.keys()
    monkeypatch.setenv("HOME", "/nowhere")
    (tmp_path / "file").touch()
    monkeypatch.setenv("DIFFECT_CACHE", str(tmp_path / "file"))  # it cannot be written: libraries choose as they do
    settle_libraries()
    assert not LIBRARIES.keys() & os.environ.keys()
    monkeypatch.setenv("DIFFECT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MPLCONFIGDIR", "chosen")
    settle_libraries()
    assert os.environ["WANDB_CONFIG_DIR"] == str(tmp_path / "cache/wandb/config")
    assert os.environ["MPLCONFIGDIR"] == "chosen"
