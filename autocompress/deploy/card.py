"""The model card of an exported folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autocompress.anatomy.heads import EMBEDDING, SEQUENCE, auto_class
from autocompress.core.lowering import FormChoice
from autocompress.core.policy import Step
from autocompress.core.runtimes import DEFAULT_RUNTIME, RUNTIMES, named_runtime
from autocompress.core.task_kinds import NOUNS, Modality
from autocompress.core.workload import Workload
from autocompress.deploy.folder import COVERAGE, Manifest, licence_in_words

_NAMES = {
    "quality": "quality (validation)",
    "test_quality": "quality (test)",
    "quality_drop": "quality below the uncompressed model (validation)",
    "test_quality_drop": "quality below the uncompressed model (test)",
    "expected_drop": "quality below the uncompressed model, expected on rows that nobody has seen",
    "latency_ms": "latency, median",
    "latency_p90_ms": "latency, 90th percentile",
    "size_mb": "model.onnx on disk",
    "energy_mj": "energy of one inference",
    "throughput": "throughput",
    "peak_memory_mib": "peak memory",
    "parameters": "parameters",
    "macs": "multiply-accumulates (1 MAC = 2 FLOPs)",
    "parity": "largest difference torch against ONNX, fp32",
}


_USE: Mapping[str, tuple[str, str]] = {
    "text": ("tokenizers", '"some text"'),
    "pairs": ("tokenizers", '"some text" "another one"'),
    "image": ("pillow", "picture.png"),
    "audio": ("", "speech.wav"),
}
"""What an example needs beside its runtime, and what it may be asked: by what it reads."""


def model_card(manifest: Manifest, *, summary: str, steps: Sequence[str], plain: bool = False) -> str:
    """Markdown: what it is, where it comes from, how good and how fast, on what machine, and how to use it; `plain`
    where transformers loads its torch form."""
    about = manifest.provenance
    rows = _rows(manifest)
    package, asked = _USE["pairs" if manifest.task.get("pairs") else manifest.modality]
    lines = [
        f"# {manifest.study} / {manifest.digest}",
        "",
        f"A compressed {_noun(manifest.task)}: {summary}.{_labels(manifest.task)}",
        "",
        "| | this model | uncompressed (stock fp32 export) |",
        "|---|---|---|",
        *(
            f"| {text} | {_cell(manifest.metrics.get(name), rows)} | {_cell(manifest.baseline.get(name), rows)} |"
            for name, text in _NAMES.items()
            if name in manifest.metrics
        ),
        "",
        f"Latency: {Workload.of(manifest.workload)}, one inference at a time, {manifest.provenance['latency']}; "
        f"this model in {_runtime(manifest.runtime)}, the uncompressed one in {DEFAULT_RUNTIME}. {_batched(manifest)}"
        f"Quality is that of `model.onnx` itself; intervals are 95 %. {_held_out(manifest)}",
        "",
        "## Use",
        "",
        "```",
        f"pip install {' '.join(filter(None, (_installed(manifest), package, 'numpy')))}",
        f"python example.py {asked}",
        "```",
        "",
        "From Python: `autocompress.load(folder)`; the torch form: `autocompress.load_torch(folder)`; "
        f"to check the folder: `autocompress verify FOLDER`. That is done with {rows} of the data, in "
        "`check.json`: remove it from what must not show them.",
        "",
        *_transformers(manifest, plain=plain),
        "## Made from",
        "",
        f"- base model: {about['model']}; {licence_in_words(about)}",
        f"- data: {about['data']}",
        *([f"- unlabelled texts: {about['texts']}"] if "texts" in about else []),
        f"- device: {about['device']}",
        *_graph(about),
        *(f"- {line}" for line in coverage_lines(about)),
        f"- versions: {', '.join(f'{name} {version}' for name, version in about['versions'].items())}",
        f"- seed: {about['seed']}",
        "",
        "## Policy",
        "",
        *(f"- {step}" for step in steps),
        "",
    ]
    return "\n".join(lines)


def _transformers(manifest: Manifest, *, plain: bool) -> list[str]:
    """How transformers loads it, and what that computes. Where a config cannot say what was cut, we tell it."""
    head = str(manifest.task.get("head", SEQUENCE))
    if head == EMBEDDING:
        return []
    first = "" if plain else "`import autocompress.auto`, and then "
    return [
        f"With transformers: {first}`{auto_class(head)}.from_pretrained(folder)`. It "
        "computes in fp32, before any rounding to fewer bits: answers are those of `model.onnx` up to that rounding, "
        "which is much where weights are held in fewer than 8 bits (`autocompress.load_torch(folder)` rounds), and the "
        "times above are not its own.",
        "",
    ]


def _graph(about: Mapping[str, Any]) -> list[str]:
    """How the graph is made, which folders of old do not tell, and the rules that it is written by."""
    found = [f"- graph: {FormChoice(**about['graph'])}"] if "graph" in about else []
    if "form" in about:
        found.append(f"- form of the graph, as measured there: {about['form']}")
    return found


def coverage_lines(about: Mapping[str, Any]) -> list[str]:
    """How held-out texts are read where the tokenizer knows fewer tokens, by a manifest's provenance: `on validation
    texts 93.1 % of tokens are left, 43.3 % of texts are read as before, 1.10 times as many tokens a text`."""
    if COVERAGE not in about:
        return []
    told = about[COVERAGE]
    splits = (
        f"on {name} texts {100 * told[name]['tokens']:.1f} % of tokens are left, {100 * told[name]['texts']:.1f} % of "
        f"texts are read as before, {told[name]['growth']:.2f} times as many tokens a text"
        for name in ("validation", "test")
    )
    return [f"vocabulary: {told['tokens']:,} tokens, which `tokenizer.json` knows alone; {'; '.join(splits)}"]


def _noun(task: Mapping[str, Any]) -> str:
    modality: Modality = task.get("modality", "text")
    of = "pairs of texts" if task.get("pairs") else NOUNS[modality]
    nouns = {
        "share": f"classifier of {of}",
        "labels": f"multi-label classifier of {of}",
        "amount": f"scorer of {of}",
        "vector": f"encoder of {of}",
        "spans": f"token classifier of {of}",
    }
    is_plain = of == "texts" and task.get("answer", "share") == "share"
    return "text classifier" if is_plain else nouns.get(str(task["answer"]), f"model of {of}")


def _rows(manifest: Manifest) -> str:
    """What it is asked."""
    return NOUNS[manifest.modality]


def _held_out(manifest: Manifest) -> str:
    """What became of the rows that were held out. Picks may be made by what is expected, which counts both splits."""
    told = "Neither the search nor any training saw the test split"
    if "expected_drop" not in manifest.metrics:
        return f"{told}."
    return f"{told}; what is expected counts validation and test {_rows(manifest)}, and picks may be made by it."


def _labels(task: Mapping[str, Any]) -> str:
    return f" Labels: {', '.join(task['labels'])}." if task["labels"] else ""


def _cell(metric: Mapping[str, Any] | None, rows: str) -> str:
    if metric is None:
        return ""
    value, unit = metric["value"], metric["unit"]
    if unit == "1/s":
        return f"{value:,.0f} {rows} a second, {metric['source']}"
    number = f"{value:,.0f}" if unit == "count" else f"{value:.4g} {unit}".rstrip()
    interval = f" ({metric['interval'][0]:.4g} to {metric['interval'][1]:.4g})" if metric.get("interval") else ""
    return f"{number}{interval}, {metric['source']}"


def step_line(step: Step) -> str:
    """`prune_heads on layers.0.attention (heads 6, importance fisher)`."""
    settings = ", ".join(f"{name} {value}" for name, value in step.settings.items())
    return f"{step.operator} on {step.target}" + (f" ({settings})" if settings else "")


def _batched(manifest: Manifest) -> str:
    """What batches mean for the numbers; nothing to say of single texts."""
    batch = Workload.of(manifest.workload).batch
    if batch == 1:
        return ""
    rows = _rows(manifest)
    return f"An inference is a batch of {batch} {rows}; throughput is in {rows} a second, one batch after another. "


def _installed(manifest: Manifest) -> str:
    requires = str(manifest.runtime.get("requires", RUNTIMES[named_runtime(manifest.runtime_name)].install))
    return f"'{requires}'" if ">" in requires else requires


def _runtime(about: Mapping[str, Any]) -> str:
    """`openvino-bf16 2026.4.1`; folders of old do not tell the version."""
    return f"{about['name']} {about.get('version', '')}".rstrip()
