"""A W&B server on loopback: it answers what wandb's own client asks when runs are read, and nothing else."""

import json
import re
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "k" * 40
DROP = -1  # a fault: the connection ends without an answer


@dataclass
class Logged:
    """A run as the server keeps it; `record` is the text of its record.json, where it has one."""

    name: str
    config: dict[str, Any]
    record: str | None = None
    state: str = "finished"

    def fields(self) -> dict[str, Any]:
        """All that the client knows of a run, by the names of its GraphQL fields."""
        wrapped = {key: {"value": value, "desc": None} for key, value in self.config.items()}
        empty = ("sweepName", "jobType", "commit", "description", "notes", "systemMetrics", "historyKeys")
        return {
            **dict.fromkeys(empty),
            "id": f"id-{self.name}",
            "projectId": "1",
            "name": self.name,
            "displayName": self.name,
            "state": self.state,
            "config": json.dumps(wrapped),
            "summaryMetrics": "{}",
            "group": self.config.get("study"),
            "tags": [],
            "readOnly": False,
            "createdAt": "2026-01-01T00:00:00",
            "heartbeatAt": "2026-01-01T00:00:00",
            "historyLineCount": 0,
            "user": {"name": "u", "username": "u"},
        }


@dataclass
class Server:
    """The project `team/lab`; `faults` are HTTP statuses that the next questions for runs get instead of an answer."""

    runs: list[Logged]
    url: str = ""
    faults: list[int] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)  # the variables of each question for runs

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """The `data` of a GraphQL answer; KeyError for a question that no client of this version asks."""
        (operation,) = re.findall(r"^\s*query (\w+)", query, re.M)
        if operation in ("Viewer", "GetDefaultEntity"):
            teams = {"edges": []}
            return {
                "viewer": {"id": "1", "entity": "team", "username": "u", "email": "", "flags": "{}", "teams": teams}
            }
        if (variables["entity"], variables["project"]) != ("team", "lab"):
            return {"project": None}
        return {"project": {"Runs": self._runs, "RunFiles": self._files}[operation](query, variables)}

    def _runs(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(variables)
        (fragment,) = re.findall(r"fragment \w+ on Run \{(.*)\}", query, re.S)
        wanted = re.findall(r"\w+", re.sub(r"\{[^{}]*\}", "", fragment))
        found = [run for run in self.runs if _matches(run, json.loads(variables["filters"]))]
        start = int(variables["cursor"] or 0)
        page = found[start : start + variables["perPage"]]
        edges = [
            {"node": {"projectId": "1", **{name: run.fields()[name] for name in wanted}}, "cursor": str(start + place)}
            for place, run in enumerate(page, 1)
        ]
        more = {"endCursor": edges[-1]["cursor"] if edges else None, "hasNextPage": start + len(page) < len(found)}
        runs = {"edges": edges, "pageInfo": more}
        return {"internalId": "1", "runCount": len(found), "readOnly": False, "runs": runs}

    def _files(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        (run,) = (run for run in self.runs if run.name == variables["name"])
        names = [name for name in variables["fileNames"] if name == "record.json" and run.record is not None]
        edges = [
            {
                "node": {
                    **{"id": "1", "name": name, "mimetype": "application/json", "updatedAt": None, "md5": None},
                    **{"url": f"{self.url}/files/{run.name}", "directUrl": f"{self.url}/files/{run.name}"},
                    "sizeBytes": len(str(run.record)),
                },
                "cursor": "1",
            }
            for name in names
        ]
        files = {"edges": edges, "pageInfo": {"endCursor": "1", "hasNextPage": False}}
        return {"internalId": "1", "run": {"fileCount": len(edges), "files": files}}


def _matches(run: Logged, filters: dict[str, Any]) -> bool:
    """MongoDB's query language as far as the tests use it."""
    for key, wanted in filters.items():
        value = run.config.get(key.removeprefix("config.")) if key.startswith("config.") else run.fields()[key]
        if value not in (wanted["$in"] if isinstance(wanted, dict) else [wanted]):
            return False
    return True


@contextmanager
def serve(runs: list[Logged]) -> Iterator[Server]:
    """A server of these runs, on a free port of loopback, for the length of the context."""
    state = Server(runs)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections stay open, as at W&B

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path != "/graphql":  # the client counts its own use
                self._send(404, {})
                return
            asked = json.loads(body)
            if b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode() != f"api:{KEY}":
                self._send(401, {"errors": [{"message": "user is not logged in"}]})
            elif "query Runs(" in asked["query"] and state.faults:
                if (fault := state.faults.pop(0)) != DROP:
                    self._send(fault, {"errors": [{"message": "try again"}]})
                self.close_connection = fault == DROP
            else:
                self._send(200, {"data": state.answer(asked["query"], asked.get("variables") or {})})

        def do_GET(self) -> None:
            (run,) = (run for run in state.runs if run.name == self.path.rsplit("/", 1)[-1])
            self._send(200, str(run.record).encode())

        def _send(self, status: int, content: Any) -> None:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
