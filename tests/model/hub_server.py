"""As much of the Hugging Face hub as a push asks for, over HTTP on this machine."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Hub:
    """Repositories that were made, whether they are private, and the files that were put into them."""

    def __init__(self) -> None:
        self.address = ""
        self.private: dict[str, bool] = {}
        self.files: dict[str, dict[str, bytes]] = {}
        self.tokens: set[str] = set()

    def answer(self, path: str, body: bytes, token: str) -> tuple[int, dict[str, Any]]:
        self.tokens.add(token)
        if token != "Bearer hf_writes":
            return 401, {"error": "Invalid username or password."}
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            self.private.setdefault(name, asked.get("visibility") == "private")
            return 200, {"url": f"{self.address}/{name}", "name": name}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", path):
            files = [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                     for one in json.loads(body)["files"]]  # fmt: skip
            return 200, {"files": files}
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            kept = self.files.setdefault(found[1], {})
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    kept[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            return 200, {
                "success": True,
                "commitOid": "0" * 40,
                "commitUrl": f"{self.address}/{found[1]}/commit/{'0' * 40}",
            }
        return 404, {"error": path}


@contextmanager
def running_hub() -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            code, told = hub.answer(self.path.partition("?")[0], body, self.headers.get("Authorization") or "")
            said = json.dumps(told).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = _answer

        def log_message(self, *given: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
