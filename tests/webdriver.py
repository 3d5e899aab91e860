"""A headless Chromium for tests, driven over the W3C WebDriver protocol: plain HTTP, no client library."""

import base64
import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
)
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of an element in the protocol
KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Escape": "\ue00c", "Home": "\ue011", "End": "\ue010"}
KEYS |= {"Left": "\ue012", "Up": "\ue013", "Right": "\ue014", "Down": "\ue015"}


def missing() -> str | None:
    """What is not installed, as a reason to skip; None where a browser can be driven."""
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    cure = "(Debian: apt-get install chromium chromium-driver)"
    return f"{' and '.join(absent)} not installed {cure}" if absent else None


class Browser:
    """One window. Scripts see their arguments as `arguments` and give back plain JSON."""

    def __init__(self, session: str) -> None:
        self.session = session

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return _request(method, self.session + path, body)

    def open(self, page: Path, width: int = 1280, height: int = 900) -> None:
        """Show a file in a viewport of that size, which may be narrower than any window."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.devtools("Emulation.setDeviceMetricsOverride", **size)
        self.prefer("light")
        self.call("POST", "/url", {"url": page.resolve().as_uri()})

    def prefer(self, scheme: str) -> None:
        """What the system asks for: light or dark, and in any case no motion, for which tests would have to wait."""
        wanted = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in wanted.items()]
        self.devtools("Emulation.setEmulatedMedia", features=features)

    def devtools(self, command: str, **params: Any) -> Any:
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": params})

    def run(self, script: str, *arguments: Any) -> Any:
        return self.call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def text(self, css: str) -> list[str]:
        """The text of all elements that match."""
        return self.run(
            "return [...document.querySelectorAll(arguments[0])].map((node) => node.innerText ?? node.textContent)", css
        )

    def click(self, css: str, place: int = 0) -> None:
        """A real click on the `place`-th element that matches, scrolled into sight first."""
        self.run("document.querySelectorAll(arguments[0])[arguments[1]].scrollIntoView({block: 'center'})", css, place)
        found = self.call("POST", "/elements", {"using": "css selector", "value": css})
        self.call("POST", f"/element/{found[place][ELEMENT]}/click", {})

    def press(self, *keys: str) -> None:
        """Real key presses wherever the focus is: names of KEYS, or text."""
        actions = []
        for key in "".join(KEYS.get(key, key) for key in keys):
            actions += [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("GET", "/screenshot")))

    def problems(self) -> list[str]:
        """What the console has said since the last call, warnings and errors."""
        entries = self.call("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A Chromium with the new, empty folder `profile` for its files, ended at the end."""
    with subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True) as driver:
        try:
            assert driver.stdout is not None
            said = iter(driver.stdout)
            port = next(found[1] for line in said if (found := re.search(r"started successfully on port (\d+)", line)))
            url = f"http://127.0.0.1:{port}/session"
            options = {"args": [*FLAGS, f"--user-data-dir={profile}"]}
            wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            session = _request("POST", url, {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
            try:
                yield Browser(f"{url}/{session}")
            finally:
                _request("DELETE", f"{url}/{session}")
        finally:
            driver.terminate()


def _request(method: str, url: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is on this machine, whatever the proxy
    try:
        with opener.open(request, timeout=60) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        raise AssertionError(json.load(error)["value"]["message"]) from error
