"""wandb's own client reads a project from a server on loopback: whole, in pages, again after faults, or a sentence."""

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from records import make, record_of, run_of, study_records
from wandb_server import DROP, KEY, Logged, Server, serve

from diffect.runs import record_file, sources, wandb
from diffect.runs.selection import select

pytestmark = pytest.mark.slow


def logged(record: dict) -> Logged:
    config = {"study": record["study"], "seed": record["seed"]}
    return Logged(f"w-{record['signature']}", config, record_file.dumps(record_of(record)))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Twenty-four runs of one study and two of another."""
    runs = [logged(record) for record in [*study_records(), make(study="other"), make("edm", study="other")]]
    with serve(runs) as state:
        monkeypatch.setenv("WANDB_BASE_URL", state.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        yield state


@pytest.fixture(scope="module", autouse=True)
def _service() -> Iterator[None]:
    """wandb's background process ends with these tests."""
    yield
    from wandb import teardown

    teardown()


def test_a_study_is_read_whole_in_pages(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb, "PAGE", 10)
    found = sources.read("wandb:team/lab", "demo")
    runs = [run_of(Path(record["signature"]), record) for record in study_records()]
    assert [run.record for run in found.runs] == [run.record for run in select(runs, (), "here").runs]
    assert found.left_out == found.ignored == ()
    assert [asked["perPage"] for asked in server.asked] == [10] * 3
    assert [asked["cursor"] for asked in server.asked] == [None, "10", "20"]
    assert {asked["filters"] for asked in server.asked} == {'{"config.study": "demo"}'}
    assert str(found.runs[0].folder) == f"wandb:team/lab/w-{found.runs[0].record.signature}"


@pytest.mark.parametrize("own", [True, False])
def test_no_folder_is_left_behind(server: Server, own: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """wandb's client makes one for each run that it lists, in WANDB_DIR or else among the temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("WANDB_DIR", raising=False)
    if own:
        monkeypatch.setenv("WANDB_DIR", str(tmp_path / "own"))
    assert len(sources.read("wandb:team/lab", "demo").runs) == 24
    with pytest.raises(ValueError, match="no runs with"):
        sources.read("wandb:team/lab", "dmo")
    assert list(tmp_path.iterdir()) == []
    assert os.environ.get("WANDB_DIR") == (str(tmp_path / "own") if own else None)


def test_filters_are_asked_of_the_server(server: Server) -> None:
    found = sources.read("wandb:team/lab", "demo", {"config.seed": {"$in": [1]}, "state": "finished"})
    assert len(found.runs) == 12 and {run.unit[1] for run in found.runs} == {1}
    asked = {"config.study": "demo", "config.seed": {"$in": [1]}, "state": "finished"}
    assert json.loads(server.asked[0]["filters"]) == asked
    with pytest.raises(ValueError, match=r"runs of 2 studies: demo \(24\), other \(2\)"):
        sources.read("wandb:team/lab")
    with pytest.raises(ValueError, match=r"filters= is for a W&B project, and source=.* is a folder"):
        sources.read(".", "demo", asked)


def test_a_busy_server_and_a_lost_connection_are_asked_again(server: Server) -> None:
    server.faults = [503, DROP]
    assert len(sources.read("wandb:team/lab", "demo").runs) == 24
    assert server.faults == []


def test_runs_without_a_whole_record_are_left_out_with_the_reason(server: Server) -> None:
    lost = logged(make("linear", study="other"))
    lost.record = str(lost.record)[:1000]
    server.runs += [lost, Logged("young", {"study": "other"}, state="running")]
    found = sources.read("wandb:team/lab", "other")
    assert len(found.runs) == 2
    reasons = {item.name: item.reason for item in found.ignored}
    assert reasons[lost.name].startswith("the record wandb:team/lab/" + lost.name + " is corrupt: ")
    assert reasons["young"].startswith("it holds no record") and "(W&B says that it is running)" in reasons["young"]


def test_what_cannot_be_read_is_a_sentence(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"source=wandb:lab names no project; write it as wandb:ENTITY/PROJECT"):
        sources.read("wandb:lab", "demo")
    with pytest.raises(ValueError, match=r"source=wandb:team/none: there is no such project at http.*may not see it"):
        sources.read("wandb:team/none", "demo")
    with pytest.raises(ValueError, match=r'no runs with {"config.study": "dmo"}: its runs are grouped as demo, other'):
        sources.read("wandb:team/lab", "dmo")
    server.faults = [400]
    with pytest.raises(ValueError, match=r"source=wandb:team/lab: .*try again"):
        sources.read("wandb:team/lab", "demo")
    monkeypatch.setenv("WANDB_API_KEY", "q" * 40)
    with pytest.raises(ValueError, match=r"refuses the API key .*user is not logged in.* set WANDB_API_KEY"):
        sources.read("wandb:team/lab", "demo")
    monkeypatch.setenv("WANDB_HTTP_TIMEOUT", "1")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(ValueError, match=r"no answer from http.*: is there a network\? WANDB_HTTP_TIMEOUT"):
        sources.read("wandb:team/lab", "demo")
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(ValueError, match=r"W&B has no API key here: `wandb login`"):
        sources.read("wandb:team/lab", "demo")


def test_filters_are_pairs_or_a_query() -> None:
    assert wandb.parse_filters("config.study=a b, config.seed=0,state=finished") == {
        "config.study": "a b",
        "config.seed": 0,
        "state": "finished",
    }
    assert wandb.parse_filters('{"config.seed": {"$in": [0, 1]}}') == {"config.seed": {"$in": [0, 1]}}
    with pytest.raises(ValueError, match=r"filters=state: 'state' is not KEY=VALUE"):
        wandb.parse_filters("state")
    with pytest.raises(ValueError, match=r"filters=\{state\} is not JSON"):
        wandb.parse_filters("{state}")
