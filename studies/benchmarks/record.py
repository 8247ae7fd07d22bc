"""How a benchmark's figures are kept: one small JSON file with the commit, the date and the machine."""

from __future__ import annotations

import datetime
import json
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scipy import stats

from autocompress.core.versions import versions
from autocompress.devices.host import fingerprint, is_like_this

RESULTS = Path(__file__).parent / "results"


def kept(name: str, otherwise: Any, *, anywhere: bool = False) -> Any:
    """The figures kept last, to go on with: those of this machine, as no table holds rows of two, unless they hold
    `anywhere`."""
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return otherwise
    found = json.loads(path.read_text(encoding="utf-8"))
    if not anywhere and not is_like_this(found["machine"]):
        print(f"{path.name}: its figures are of {found['machine']['cpu']}; the table is begun anew on this machine")
        return otherwise
    return found["figures"]


def commit() -> str:
    """What the figures were made with: `-dirty` where anything but figures and their documents was changed since."""
    head = _git("rev-parse", "--short", "HEAD")
    documents = ("studies/benchmarks/results", "README.md", "docs")
    others = ("--", ":(top)", *(f":(top,exclude){path}" for path in documents))
    return (head or "unknown") + "-dirty" * bool(_git("status", "--porcelain", "--untracked-files=no", *others))


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=RESULTS.parent, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def keep(name: str, figures: Any) -> Path:
    """Writes `results/NAME.json`."""
    about = {
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": fingerprint(),
        "versions": dict(versions()),
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({**about, "figures": figures}, indent=1) + "\n", encoding="utf-8")
    return path


def spread(values: Sequence[float], digits: int = 4) -> str:
    """The mean over seeds, and their standard deviation."""
    mean = f"{statistics.fmean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def mean_with_interval(differences: Sequence[float]) -> str:
    """The mean of paired differences, and the half-width of its 95 % interval (Student's t)."""
    mean = f"{statistics.fmean(differences):+.2f}"
    if len(differences) < 2:
        return mean
    half = stats.t.ppf(0.975, len(differences) - 1) * statistics.stdev(differences) / len(differences) ** 0.5
    return f"{mean} ± {half:.2f}"
