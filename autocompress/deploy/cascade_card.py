"""The model card of a cascade."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from autocompress.core.workload import Workload
from autocompress.deploy.cascade_folder import CascadeManifest
from autocompress.deploy.folder import licence_in_words

_NAMES: Final = {
    "quality": "quality (validation)",
    "test_quality": "quality (test)",
    "quality_drop": "quality below the uncompressed model (validation)",
    "test_quality_drop": "quality below the uncompressed model (test)",
    "expected_drop": "quality below the uncompressed model, expected on texts that nobody has seen",
    "latency_ms": "latency, mean over texts as they come",
    "latency_p99_ms": "latency, 99th percentile",
    "latency_worst_ms": "latency, worst case",
    "size_mb": "both `model.onnx` on disk",
    "energy_mj": "energy of one inference, mean",
    "peak_memory_mib": "peak memory, both loaded",
}


def cascade_card(manifest: CascadeManifest, *, small: str, large: str, requires: str) -> str:
    """Markdown: what the two are in words, what is handed on, what that costs and loses, and when it fails."""
    share, about = manifest.share, manifest.provenance
    low, high = (100 * end for end in share["interval"])
    lines = [
        f"# {manifest.study} / {manifest.digest}",
        "",
        f"Two compressed text classifiers that answer as one. Labels: {', '.join(manifest.task['labels'])}.",
        "",
        f"- `small` ({manifest.small.digest}) reads every text: {small}.",
        f"- `large` ({manifest.large.digest}) answers where `small` is less than {100 * (1 - manifest.doubt):.1f} % "
        f"sure, {100 * share['value']:.1f} % of texts ({low:.1f} to {high:.1f}) by {share['rows']:,} held-out ones: "
        f"{large}.",
        "",
        "| | these two as one | uncompressed (stock fp32 export) |",
        "|---|---|---|",
        *(
            f"| {text} | {_cell(manifest.metrics[name])} | {_cell(manifest.baseline.get(name))} |"
            for name, text in _NAMES.items()
            if name in manifest.metrics
        ),
        "",
        f"Latency: {Workload.of(manifest.workload)}, one text at a time, from the medians of the two models and the "
        "share that is handed on; a text is tokenized once. The uncompressed model's is its median. Intervals are 95 "
        "%. Thresholds were chosen on one half of the held-out texts and judged on the other, both ways round; what is "
        "expected counts validation and test texts.",
        "",
        "## When it fails",
        "",
        "A cascade is only as good as the small model's doubt. Where labels of the data are wrong, and where texts "
        "come that are of another kind than the study's, a small model may be sure and wrong, or unsure of nearly all: "
        "then the two lose more than is said above, or are slower than the large one alone. Measure it on labelled "
        "texts of your own, as they come today:",
        "",
        "```",
        "autocompress verify FOLDER --data FILE",
        "```",
        "",
        "## Use",
        "",
        "```",
        f"pip install '{requires}' tokenizers numpy",
        'python example.py "some text"',
        "```",
        "",
        "From Python: `autocompress.load(folder)`; to check the folder: `autocompress verify FOLDER`. `small` and "
        "`large` are exported models of their own, each with its card.",
        "",
        "## Made from",
        "",
        f"- base model: {about['model']}; {licence_in_words(about)}",
        f"- data: {about['data']}",
        f"- device: {about['device']}",
        "",
    ]
    return "\n".join(lines)


def _cell(metric: Mapping[str, Any] | None) -> str:
    if metric is None:
        return ""
    interval = metric.get("interval")
    within = f" ({interval[0]:.4g} to {interval[1]:.4g})" if interval else ""
    return f"{metric['value']:.4g} {metric['unit']}".rstrip() + f"{within}, {metric['source']}"
