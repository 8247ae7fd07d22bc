"""The JSON documents that commands print and `report --json` writes, as JSON Schemas.

Each document names its form and its version (`autocompress.front/1`). What stands in `required` stays there as long as
the version does, with its meaning; new keys may come at any time, so a reader ignores what it does not know.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Final, get_args, get_origin, get_type_hints

from autocompress.core.outcome import Source
from autocompress.core.trust import Trust
from autocompress.report.comparing.candidates import SCHEMA as COMPARISON
from autocompress.report.comparing.deltas import How
from autocompress.report.front import SCHEMA as FRONT
from autocompress.report.front import Hypervolume, Relative, State
from autocompress.report.picking import SCHEMA as PICK
from autocompress.report.policies import LayerRow
from autocompress.report.prediction import Prediction
from autocompress.report.reproduction import SCHEMA as REPRODUCTION
from autocompress.report.reproduction import Verdict
from autocompress.report.steps import Steps
from autocompress.report.ties import Tie
from autocompress.store import Counts, StudyState

Schema = dict[str, Any]


def _text(about: str = "", *, among: object = None) -> Schema:
    return _said({"type": "string", **({"enum": list(get_args(among))} if among else {})}, about)


def _number(about: str = "") -> Schema:
    return _said({"type": "number"}, about)


def _count(about: str = "") -> Schema:
    return _said({"type": "integer"}, about)


def _flag(about: str = "") -> Schema:
    return _said({"type": "boolean"}, about)


def _list(of: Schema, about: str = "") -> Schema:
    return _said({"type": "array", "items": of}, about)


def _map(of: Schema, about: str = "") -> Schema:
    """Of names that the study gives."""
    return _said({"type": "object", "additionalProperties": of}, about)


def _ends(about: str = "") -> Schema:
    return _said({"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}, about)


def _maybe(one: Schema, about: str = "") -> Schema:
    """Null where it is not known."""
    told = about or str(one.get("description", ""))
    bare = {key: value for key, value in one.items() if key != "description"}
    return _said({"anyOf": [bare, {"type": "null"}]}, told)


def _said(schema: Schema, about: str) -> Schema:
    return {**schema, "description": about} if about else schema


def _object(fields: Mapping[str, Schema], about: str = "", *, optional: Mapping[str, Schema] | None = None) -> Schema:
    """`fields` are always there."""
    more = dict(optional or {})
    return _said({"type": "object", "properties": {**fields, **more}, "required": list(fields)}, about)


def _with(base: Schema, fields: Mapping[str, Schema], *, optional: Mapping[str, Schema] | None = None) -> Schema:
    """An object that has more: `fields` always."""
    return {
        **base,
        "properties": {**base["properties"], **fields, **(optional or {})},
        "required": [*base["required"], *fields],
    }


def _of(kind: type) -> Schema:
    """What `dataclasses.asdict` makes of one of our values."""
    hints = get_type_hints(kind)
    return _object({field.name: _of_type(hints[field.name]) for field in dataclasses.fields(kind)})


_PLAIN: Final[Mapping[object, Schema]] = {
    Any: {},
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
}


def _of_type(hint: object) -> Schema:
    if hint in _PLAIN:
        return dict(_PLAIN[hint])
    origin, inside = get_origin(hint), get_args(hint)
    if origin in (typing.Union, types.UnionType):
        (one,) = (part for part in inside if part is not type(None))
        return _maybe(_of_type(one))
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _of(hint)
    if origin is typing.Literal:
        return {"type": "string", "enum": list(inside)}
    if origin is tuple:
        of = _of_type(inside[0])
        return _list(of) if Ellipsis in inside else {"type": "array", "items": of, "minItems": 2, "maxItems": 2}
    assert origin is not None, f"{hint} is in no document"
    return _map(_of_type(inside[-1]))


_SETTINGS: Final = _map({"type": ["string", "number", "boolean"]}, "the settings of a step")
_MEASURED: Final = _object(
    {
        "value": _number(),
        "unit": _text("of the value; that of a quality is the name of its metric"),
        "source": _text("how it was come by", among=Source),
    },
    optional={"interval": _ends("95 %"), "n": _count("readings that the value is the median of")},
)
_METRICS: Final = _map(_MEASURED, "by metric: `latency_ms`, `size_mb`, `quality`, `test_quality`, ...")
_RELATIVE: Final = _said(
    _of(Relative), "beside the uncompressed model: speedup, drops as shares, size as a share; expected: on unseen rows"
)
_DIGEST: Final = _text("the candidate's name: 16 hex digits of its policy's SHA-256")
_FOLDS: Final = _object({"folds": _count(), "of": _count()}, "folds of the training rows that it was judged on too")
_BASELINE: Final = _object(
    {
        "digest": _DIGEST,
        "policy": _text("in words"),
        "measured": _flag("whether its exported file was measured yet"),
        "metrics": _METRICS,
    },
    "the uncompressed model",
)
_MEMBER: Final = _object(
    {
        "number": _count("in the study; the uncompressed model is 0"),
        "digest": _DIGEST,
        "policy": _text("in words"),
        "runtime": _text("that it is deployed in"),
        "state": _text("verified: trained, exported and measured", among=State),
        "verified": _flag(),
        "on_front": _flag(),
        "knee": _flag("the one nearest to the best of every objective"),
        "metrics": _METRICS,
        "relative": _RELATIVE,
    },
    optional={
        "reason": _text("why it was rejected"),
        "predicted": _object({"latency_ms": _MEASURED}, "what the search counted on"),
        "untrained": _object({"quality": _MEASURED}, "what the search saw"),
        "certified": _FOLDS,
    },
)
_SUMMARY: Final = _object({"digest": _DIGEST, "policy": _text("in words")})
_CASCADE: Final = _object(
    {
        "digest": _text(),
        "small": _SUMMARY,
        "large": _SUMMARY,
        "threshold": _object({"doubt": _number("above it the small model hands on"), "confidence": _number()}),
        "handed_on": _object({"share": _number("of texts"), "interval": _ends(), "rows": _count()}),
        "latency": _object({"mean_ms": _number(), "p99_ms": _number(), "worst_ms": _number()}),
        "metrics": _METRICS,
        "relative": _RELATIVE,
    }
)
_OBJECTIVES: Final = _map({"enum": ["minimize", "maximize"]}, "by metric, which way is better")


def _document(name: str, about: str, fields: Mapping[str, Schema], **more: Any) -> Schema:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": name,
        **_object(
            {"schema": {"const": name, "description": "the form and version of this document"}, **fields}, **more
        ),
        "description": about,
    }


_STEPS: Final = _list(
    _object({"operator": _text(), "target": _text(), "settings": _SETTINGS}), "the steps, in their order"
)
_PICKED: Final[Mapping[str, Schema]] = {
    "study": _text(),
    "number": _count("of the candidate"),
    "digest": _DIGEST,
    "summary": _text("the policy in words"),
    "policy": _STEPS,
    "runtime": _text(),
    "verified": _flag("always true"),
    "metrics": _METRICS,
    "baseline": _BASELINE,
    "relative": _RELATIVE,
    "why": _text("why this one, in sentences"),
    "cascade": _maybe(
        _with(_CASCADE, {"why": _text("what it gains, and the command that takes it")}),
        "a faster answer of two models within the same bounds",
    ),
}
_STEP: Final = _object(
    {"operator": _text(), "target": _text(), "a": _maybe(_SETTINGS), "b": _maybe(_SETTINGS)},
    "null: who has no such step",
)
_DELTA: Final = _object(
    {
        "a": _maybe(_MEASURED),
        "b": _maybe(_MEASURED),
        "difference": _maybe(_number("b - a")),
        "ratio": _maybe(_number("b / a")),
        "interval": _maybe(_ends("95 %")),
        "interval_of": {"enum": ["difference", "ratio", None], "description": "what the interval is of"},
        "how": _text("paired: of the same rows, or of the same rounds", among=How),
        "told_apart": _maybe(_flag("whether the interval leaves out that the two are equal")),
    }
)
_SIDE: Final = _object(
    {
        "study": _text(),
        "number": _count(),
        "digest": _DIGEST,
        "policy": _text("in words"),
        "state": _text(),
        "expected_drop": _maybe(_number("on rows that nobody has seen")),
        "expected_drop_interval": _maybe(_ends("95 %")),
    },
    optional={"reason": _text("why it went no further")},
)
_RAN: Final = _object(
    {
        "device": _text(),
        "processor": _text(),
        "cores": _text(),
        "isa": _text("instruction sets that change what a kernel costs"),
        "runtimes": _map(_text(), "versions"),
        "minutes": _maybe(_number("of all stages")),
    }
)
_PICK: Final = _object(
    {"schema": _text(), **_PICKED}, optional={"certified": _FOLDS, "promise": _text("sure, likely or unlikely")}
)
_STUDY_SIDE: Final = _object(
    {
        "study": _text(),
        "state": _text("", among=StudyState),
        "ran": _RAN,
        "candidates": _count(),
        "verified": _count(),
        "hypervolume": _number("of its front, inside `reference_point`"),
        "front": _list(_with(_MEMBER, {"beaten": _flag("by a model of the other study, in every objective")})),
        "best": _maybe(_PICK, "what the rule takes, as `autocompress.pick/1`"),
    },
    optional={"why_none": _text("why the rule takes nothing")},
)
_CANDIDATE: Final = _object(
    {
        "number": _count("in the study; the uncompressed model is 0"),
        "digest": _DIGEST,
        "state": {"enum": ["evaluated", "infeasible", "failed", "unfinished"]},
        "attempt": _count("how often it was begun"),
        "seconds": _number("that it took"),
        "summary": _text("the policy in words"),
        "metrics": _METRICS,
    },
    optional={
        "constraint": _text("the bound that it breaks"),
        "stage": _text("in which it failed"),
        "error": _text("the class of the error"),
        "message": _text(),
        "traceback": _text(),
    },
)
_LAYER: Final = _of(LayerRow)
_FINALIST: Final = _object(
    {
        "state": {"enum": ["baseline", "nominated", "verified", "rejected"]},
        "reason": _text("why it was rejected"),
        "metrics": _METRICS,
        "provenance": _map({}, "with what it was made"),
        "artifacts": _list(_object({"path": _text(), "sha256": _text(), "bytes": _count()})),
    }
)

_REPEATED: Final = _map(
    _object(
        {
            "stored": _MEASURED,
            "now": _maybe(_MEASURED),
            "difference": _maybe(_number("now - stored")),
            "verdict": _text("reproduced where it is equal, or within the stored interval", among=Verdict),
        }
    ),
    "by metric",
)

DOCUMENTS: Final[Mapping[str, Schema]] = {
    "front": _document(
        FRONT,
        "What `autocompress pareto STUDY --json` prints and `autocompress report STUDY --json FILE` writes.",
        {
            "study": _text(),
            "state": _text("", among=StudyState),
            "objectives": _OBJECTIVES,
            "constraints": _map(_map(_number()), "by metric, its `min` and `max`"),
            "baseline": _maybe(_BASELINE),
            "members": _list(_MEMBER, "the verified front, other verified ones, then what is only estimated"),
            "cascades": _list(_CASCADE, "two verified models as one"),
            "prediction": _maybe(_of(Prediction), "predicted against measured latencies of the verified"),
            "pace": _maybe(_map({}), "how long the machine took beside its profile"),
            "trust": _maybe(_of(Trust), "how search scores ranked what was trained"),
            "promotion": _maybe(_map({}), "the same of the first finalists, and the numbers that were added for it"),
            "ties": _list(_of(Tie), "finalists that nothing measured tells apart"),
            "hypervolume": _of(Hypervolume),
            "counts": _said(_of(Counts), "how far the study is"),
        },
    ),
    "pick": _document(
        PICK,
        "What `autocompress pick STUDY --json` prints.",
        _PICKED,
        optional={"certified": _FOLDS},
    ),
    "comparison-of-candidates": _document(
        COMPARISON,
        "What `autocompress compare STUDY A B --json` prints.",
        {
            "of": {"const": "candidates"},
            "study": _text(),
            "a": _SIDE,
            "b": _SIDE,
            "compared_by": {"enum": ["exported", "searched"], "description": "files, or what the search knew"},
            "policies": _object(
                {
                    "parts": _list(
                        _object({"part": _text(), "a": _text(), "b": _text(), "differs": _flag()}),
                        "what is left of each",
                    ),
                    "steps": _list(_STEP, "those that differ"),
                }
            ),
            "metrics": _map(_DELTA, "by metric"),
            "notes": _list(_text()),
        },
    ),
    "comparison-of-studies": _document(
        COMPARISON,
        "What `autocompress compare A B --json` prints.",
        {
            "of": {"const": "studies"},
            "a": _STUDY_SIDE,
            "b": _STUDY_SIDE,
            "objectives": _OBJECTIVES,
            "reference_point": _map(_number(), "the same for both"),
            "rule": _text("what `best` was chosen by"),
            "spec_differences": _list(_text()),
            "input_differences": _list(_text()),
            "metrics": _map(_DELTA, "by metric, of the two best"),
            "warnings": _list(_text("what must not be held against each other")),
        },
    ),
    "trials": _document(
        "autocompress.trials/1",
        "What `autocompress trials STUDY --json` prints.",
        {"study": _text(), "trials": _list(_CANDIDATE, "every candidate that the search judged")},
    ),
    "candidate": _document(
        "autocompress.candidate/1",
        "What `autocompress show STUDY CANDIDATE --json` prints.",
        {
            "study": _text(),
            **{name: one for name, one in _CANDIDATE["properties"].items() if name in _CANDIDATE["required"]},
            "policy": _STEPS,
            "explained": _object(
                {"summary": _text(), "embedding_bits": {}, "layers": _list(_LAYER)}, "what is left of each layer"
            ),
            "steps": _said(
                _of(Steps),
                "what each step took, from what those before it left; what that is worth alone and in this policy; "
                "what judged candidates tell of its cost",
            ),
            "provenance": _map({}, "with what it was judged"),
            "finalist": _maybe(_FINALIST, "of its exported file, where there is one"),
        },
        optional={name: one for name, one in _CANDIDATE["properties"].items() if name not in _CANDIDATE["required"]},
    ),
    "reproduction": _document(
        REPRODUCTION,
        "What `autocompress repro STUDY CANDIDATE --json` prints; exit code 7 where it is not reproduced.",
        {
            "study": _text(),
            "number": _count("of the candidate"),
            "digest": _DIGEST,
            "policy": _text("in words"),
            "reproduced": _flag("whether the same became of it, and every metric lies where it has to"),
            "outcome": _object({"stored": _text(), "now": _text()}, "what became of it, without its numbers"),
            "searched": _REPEATED,
            "exported": _said(_REPEATED, "of the exported file of a verified finalist"),
            "environment": _list(
                _object({"what": _text(), "stored": _text(), "now": _text()}), "what is another one than it was"
            ),
            "remade": _list(_text(), "models that were gone from the cache, and were trained again"),
            "notes": _list(_text()),
        },
    ),
    "studies": _document(
        "autocompress.studies/1",
        "What `autocompress studies --json` prints.",
        {
            "studies": _list(
                _object(
                    {
                        "name": _text(),
                        "state": _text("", among=StudyState),
                        "counts": _of(Counts),
                        "created": _text("ISO 8601"),
                        "last_activity": _text("ISO 8601"),
                    }
                )
            )
        },
    ),
}
