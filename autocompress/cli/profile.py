"""`profile`: measuring a machine into a hardware profile, and checking one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from autocompress.cli.options import Json
from autocompress.cli.session import Session, session_of

if TYPE_CHECKING:
    from autocompress.core.attention_form import AttentionForm
    from autocompress.core.device import Accuracy, DeviceProfile

SCHEMA: Final = "autocompress.profile/1"
FIT_SCHEMA: Final = "autocompress.fit/1"

_QUICK_LENGTHS: Final = (32, 128)
_LENGTHS: Final = (32, 64, 128, 256)
_LONG: Final = ", ".join(map(str, _LENGTHS))


def profile(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="With --validate a profile, with --fit a CSV.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The profile to write. [default: my-device.yaml]")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Under 90 seconds: two lengths, fewer sizes.")] = False,
    validate: Annotated[
        bool,
        typer.Option("--validate", help="Check FILE on fresh models deployed here; the error is written into it."),
    ] = False,
    models: Annotated[int, typer.Option(min=4, max=10_000, metavar="N", help="Models to validate with.")] = 60,
    fit: Annotated[
        bool, typer.Option("--fit", help="Fit the latencies of FILE, a CSV of features, and print the error.")
    ] = False,
    target: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="A latency column of the CSV; repeat it, and they are added."),
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="A column of the CSV to leave out; repeat it.")
    ] = None,
    length: Annotated[
        list[int] | None,
        typer.Option(min=1, max=2**15, metavar="N", help=f"Tokens a sequence; repeat it. [default: {_LONG}]"),
    ] = None,
    batch: Annotated[
        list[int] | None,
        typer.Option(min=1, max=2**15, metavar="N", help="Sequences at a time; repeat it. [default: 1]"),
    ] = None,
    threads: Annotated[
        list[str] | None, typer.Option(metavar="N", help="Threads of the runtime, or all; repeat it. [default: 1]")
    ] = None,
    runtime: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A runtime to measure, as openvino; repeat it. [default: onnxruntime]"),
    ] = None,
    hidden: Annotated[int, typer.Option(min=8, max=2**15, metavar="N", help="Hidden size of the models.")] = 384,
    heads: Annotated[int, typer.Option(min=1, max=1024, metavar="N", help="Most heads of a layer.")] = 12,
    head_size: Annotated[int, typer.Option(min=1, max=1024, metavar="N", help="Channels of a head.")] = 32,
    width: Annotated[int, typer.Option(min=16, max=2**17, metavar="N", help="Widest feed-forward block.")] = 1536,
    layers: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="Most layers.")] = 6,
    static: Annotated[
        bool, typer.Option("--static", help="Static int8 too, for spaces that choose `activations: static`.")
    ] = False,
    low_rank: Annotated[
        bool, typer.Option("--low-rank", help="Matrices of two factors too, for spaces that choose a `rank`.")
    ] = False,
    widths: Annotated[
        bool, typer.Option("--widths", help="Narrower streams too, for spaces that choose a `hidden_size`.")
    ] = False,
    attention: Annotated[
        list[str] | None,
        typer.Option(metavar="FORM", help="Attention of a form too, as 'local, window 64, 1 global'; repeat it."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the profile that is there.")] = False,
    json: Json = False,
) -> None:
    """Measure this machine into a hardware profile.

    Every building block of a model is timed as the runtime executes it, a correction is fitted on whole random models,
    and the machine's ceilings are measured. An interrupted run goes on where it stopped.
    """
    from autocompress.errors import SpecError

    session = session_of(context)
    if validate and fit:
        raise SpecError("give one of --validate and --fit")
    if fit:
        _fit(session, _needed(file, "--fit", "CSV"), target or [], drop or [], json=json)
        return
    if validate:
        _validate(session, _needed(file, "--validate", "profile"), models, json=json)
        return
    if file is not None:
        raise SpecError(f"{file}: without --validate or --fit nothing is read; name the profile with --out")
    from autocompress.cli.live import watching
    from autocompress.config import threads_of
    from autocompress.core.runtimes import DEFAULT_RUNTIME, named_runtime
    from autocompress.core.workload import Workload
    from autocompress.devices.profiles import profile_to
    from autocompress.devices.profiling import FULL, QUICK, bert_shape

    path, forms = out or Path("my-device.yaml"), _forms(attention or [])
    lengths = dict.fromkeys(length or (_QUICK_LENGTHS if quick else _LENGTHS))
    sizes = dict.fromkeys(batch or (1,))
    counts = dict.fromkeys(threads_of(one) for one in threads or ["1"])
    with watching(session) as observer:
        observer.stage("profile")
        found = profile_to(
            path,
            bert_shape(hidden=hidden, heads=heads, head_size=head_size, width=width, layers=layers),
            [Workload(size, tokens, count) for count in counts for size in sizes for tokens in lengths],
            effort=QUICK if quick else FULL,
            runtimes=[named_runtime(name) for name in dict.fromkeys(runtime or [DEFAULT_RUNTIME])],
            static=static,
            ranks=low_rank,
            widths=widths,
            forms=forms,
            replace_it=force,
            progress=lambda text, share: observer.progress(share, 1.0, text),
        )
    _show(session, found, path, json=json)
    if not json:
        session.say(f"check it with `autocompress profile --validate {path}`", style="dim")


def _forms(named: list[str]) -> list[AttentionForm]:
    """Beside the full one, each once. Raises SpecError for one that is not known."""
    from autocompress.core.attention_form import FULL_ATTENTION, AttentionForm
    from autocompress.errors import SpecError

    try:
        found = dict.fromkeys(map(AttentionForm.of, named))
    except ValueError as error:
        raise SpecError(f"--attention: {error}") from error
    return [form for form in found if form != FULL_ATTENTION]


def _validate(session: Session, path: Path, models: int, *, json: bool) -> None:
    from autocompress.cli.live import watching
    from autocompress.devices.profiles import validate_file

    with watching(session) as observer:
        observer.stage("validation", f"{models} models")
        found = validate_file(path, models=models, progress=lambda text, share: observer.progress(share, 1.0, text))
    _show(session, found, path, json=json)


def _needed(file: Path | None, option: str, what: str) -> Path:
    from autocompress.errors import SpecError

    if file is None:
        raise SpecError(f"{option}: name the {what}, as in `autocompress profile {option} FILE`")
    return file


def _show(session: Session, found: DeviceProfile, path: Path, *, json: bool) -> None:
    from autocompress.config import device_to_json

    if json:
        session.json({"schema": SCHEMA, "file": str(path), "profile": device_to_json(found)})
        return
    for table in found.tables:
        line = f"{table}: {len(table.rows)} kernels"
        if table.correction:
            line += (
                f", corrected by {table.correction.models} whole models, "
                f"95 % of predictions within {table.correction.spread:.1%}"
            )
        session.text(line)
        if table.accuracy:
            session.text(f"  {accuracy_line(table.accuracy)}")
    if found.ceilings:
        most = found.ceilings
        session.text(
            f"ceilings of one core: {most.gflops_fp32:.0f} GFLOP/s fp32, {most.gops_int8:.0f} GOP/s int8, "
            f"{most.gbytes_per_second:.1f} GB/s"
        )
    for note in found.notes:
        session.warn(f"note: {note}", style="yellow")
    session.wrote(path)


def accuracy_line(found: Accuracy) -> str:
    """The error figures in one line."""
    return (
        f"{found.how}: mean error {found.mape:.1%}, median {found.median:.1%}, within 5 % {found.within_5:.1%}, "
        f"within 10 % {found.within_10:.1%}, Spearman {found.spearman:.3f}, Kendall {found.kendall:.3f}"
    )


def _fit(session: Session, path: Path, target: list[str], drop: list[str], *, json: bool) -> None:
    import dataclasses

    from autocompress.devices.fitting import cross_validate, fit, read_samples
    from autocompress.errors import SpecError

    if not target:
        raise SpecError("--fit: name the latency column of the CSV with --target COLUMN; several are added up")
    samples = read_samples(path, target=target, drop=drop)
    found = cross_validate(samples, folds=10, seed=0)
    fitted: Any = fit(samples)
    if json:
        session.json(
            {
                "schema": FIT_SCHEMA,
                "file": str(path),
                "rows": len(samples.milliseconds),
                "features": list(samples.names),
                "spread": fitted.spread,
                "accuracy": dataclasses.asdict(found),
            }
        )
        return
    session.text(f"{path}: {len(samples.milliseconds)} rows, {len(samples.names)} features")
    session.text(accuracy_line(found))
    session.text(f"95 % of predictions within {fitted.spread:.1%}")
