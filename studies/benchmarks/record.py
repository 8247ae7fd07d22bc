"""How a benchmark's figures are kept: one small JSON file with the commit, the date and the machine."""

from __future__ import annotations

import datetime
import json
import subprocess
from pathlib import Path
from typing import Any

from autocompress.devices.host import fingerprint
from autocompress.teacher import versions

RESULTS = Path(__file__).parent / "results"


def keep(name: str, figures: Any) -> Path:
    """Writes `results/NAME.json`."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    about = {
        "commit": commit.stdout.strip() or "unknown",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": fingerprint(),
        "versions": dict(versions()),
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({**about, "figures": figures}, indent=1) + "\n", encoding="utf-8")
    return path
