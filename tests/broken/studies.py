"""Study and space files that cannot be what their writer meant."""

from __future__ import annotations

from tests.broken.given import a_folder, changed, edited, removed, written
from tests.broken.table import Broken, nothing

BOMB = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
)


def _text(name: str, content: str | bytes, *says: str) -> Broken:
    return Broken(name, written("mine.yaml", content), "check mine.yaml", 2, ("mine.yaml", *says))


def _value(title: str, /, *says: str, **changes: object) -> Broken:
    return Broken(title, changed(**changes), "run mine.yaml --dry-run", 2, ("mine.yaml:", *says))


def _step(title: str, /, *says: str, **step: object) -> Broken:
    steps = [{"operator": "prune_heads", "target": "layers.*.attention"} | step]
    return _value(title, *says, space={"name": "s", "version": 1, "steps": steps})


TEXTS = (
    _text("an empty file", "", "the file is empty"),
    _text("a list at the top", "- a\n", "the top must be a mapping"),
    _text("a key given twice", "name: a\nname: b\n", "mine.yaml:1", "is given twice, on lines 1 and 2; keep one"),
    _text("a tab for spaces", "task:\n\tdata: 1\n", "mine.yaml:2", "a tab stands where YAML wants spaces"),
    _text("a python object", "name: !!python/object/apply:os.system ['touch executed']\n", "is refused; write plain"),
    _text("a python name", "name: !!python/name:os.system\n", "is refused; write plain values"),
    _text("an alias bomb", BOMB, "more than 10,000 values, aliases counted"),
    _text("lists a thousand deep", "name: " + "[" * 1000 + "]" * 1000, "nested deeper than 32 levels"),
    _text("a file of two documents", "name: a\n---\nname: b\n", "keep what stands before `---`"),
    _text("latin-1", "name: caf\u00e9\n".encode("latin-1"), "mine.yaml:1", "the file is not UTF-8 text; save it as"),
    _text("utf-16", "name: a\n".encode("utf-16"), "not UTF-8"),
    _text("a nul", b"name: \0\n", "character #x0000 is not allowed"),
    _text("half a surrogate pair", 'name: "\\ud800"\n', "holds half of a surrogate pair"),
    _text("a file of two megabytes", b"name: " + b"x" * 2**21, "larger than 1 MiB"),
    _text("JSON cut short", '{"name": "a", "task": ', "not YAML"),
    _text("keys of nothing known", "colour: red\n", "cannot tell what this file is"),
    _text("escape codes as a name", 'name: "\\e[31mred"\nversion: 1\nsteps: 3\n', "steps: must be a list, got 3"),
    _text("a picture", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "mine.yaml"),
    Broken("a folder in place of a study", a_folder("mine.yaml"), "check mine.yaml", 3, ("mine.yaml", "no such file")),
    Broken("a study that is not there", removed("mine.yaml"), "run mine.yaml", 3, ("mine.yaml: no such file",)),
    Broken("a misspelt study", nothing, "run quikstart", 3, ("did you mean 'quickstart'",)),
    Broken("a link in a circle", lambda here: (here / "o.yaml").symlink_to("o.yaml"), "run o.yaml", 3, ("o.yaml",)),
)
NUMBERS = (
    _value(
        "a rate in quotes",
        "teacher.epochs: must be a whole number, got '3'; remove the quotes",
        teacher={"epochs": "3"},
    ),
    Broken(
        "not a number",
        edited("mine.yaml", "seed: 0", "seed: .nan"),
        "run mine.yaml",
        2,
        ("mine.yaml:", "seed: must be a finite number of usual size, got .nan"),
    ),
    Broken(
        "infinity",
        edited("mine.yaml", "trials: 2", "trials: 2\n  minutes: .inf"),
        "run mine.yaml",
        2,
        ("budget.minutes: must be a finite number",),
    ),
    Broken(
        "a number of 5,000 digits",
        edited("mine.yaml", "seed: 0", f"seed: {'9' * 5000}"),
        "run mine.yaml",
        2,
        ("seed: must be a finite number of usual size, got 999",),
    ),
    _value("no trials", "budget.trials: must be >= 1, got 0", budget={"trials": 0}),
    _value("a trial too many", "budget.trials", budget={"trials": 10**12}),
    _value("minutes below nothing", "budget.minutes: must be > 0, got -5", budget={"trials": 2, "minutes": -5}),
    _value("a share of failures above one", "budget.failure_share", budget={"trials": 2, "failure_share": 50}),
    _value("a seed below nothing", "seed", seed=-1),
    _value("a workload of no text", "workload.batch: must be >= 1, got batch=0", workload={"batch": 0}),
    _value(
        "more threads than cores",
        "workload.threads: must be <=",
        "the cores of this machine, got 4096",
        workload={"threads": 4096, "length": 16},
    ),
    _value("texts longer than the task's", "workload.length", "task.max_length", workload={"length": 512}),
    _value("a million tokens", "max_length", task__max_length=10**6, workload={"length": 16}),
    _value("a batch of a billion", "workload.batch", workload={"batch": 10**9, "length": 16}),
    _value("epochs without end", "teacher.epochs", teacher={"epochs": 10**9}),
    _value("no epoch", "teacher.epochs: must be >= 1, got 0", teacher={"epochs": 0}),
    _value("a rate of a thousand", "teacher.learning_rate", teacher={"learning_rate": 1000.0}),
    _value("a batch of nothing", "teacher.batch_size", teacher={"batch_size": 0}),
    _value("finalists below nothing", "finalists.count", finalists={"count": -3}),
    _value("a million finalists", "finalists.count", finalists={"count": 10**6}),
    _value("elastic steps below nothing", "elastic.steps", elastic={"steps": -1}),
)
BOUNDS = (
    _value("a quality in per cent", "constraints.quality.min", "95", "0.95", constraints={"quality": {"min": 95}}),
    _value("a quality below nothing", "constraints.quality", constraints={"quality": {"max": -0.5}}),
    _value("a latency below nothing", "constraints.latency_ms.max", constraints={"latency_ms": {"max": -1}}),
    _value("a bound that is none", "a constraint needs `min`, `max` or both", constraints={"size_mb": {}}),
    _value("a bound upside down", "`min <= max` must hold", constraints={"size_mb": {"min": 9, "max": 1}}),
    _value("a bound without a key", "constraints.size_mb: must be a mapping", constraints={"size_mb": 20}),
    _value(
        "a bound on an unknown metric", "unknown metric 'latency'; did you mean", constraints={"latency": {"max": 9}}
    ),
    _value(
        "an objective the wrong way",
        "objectives.latency_ms",
        "`minimize` must hold, got maximize",
        objectives={"quality": "maximize", "latency_ms": "maximize"},
    ),
    _value("no objective", "objectives: must name at least one metric", objectives={}),
    _value("objectives as a list", "objectives: must be a mapping", objectives=["quality"]),
)
KEYS = (
    _value("a missing key", "device: is missing", device=None),
    _value("a misspelt key", "modle: unknown key; did you mean 'model'", modle={"path": "model"}),
    _value("a sampler nobody knows", "did you mean 'nsga", sampler="nsga"),
    _value("a device nobody knows", "no device profile is called 'raspbery'", "or write `host`", device="raspbery"),
    _value("a device that is a list", "device: must be text, got a list", device=["host"]),
    _value("a runtime nobody knows", "runtime", "openvino", runtime="tensorrt"),
    _value(
        "a space nobody knows", "no search space is called 'bert-smal'; did you mean 'bert-small'", space="bert-smal"
    ),
    _value("a space that is a number", "space: must be a name, a path or a mapping, got 3", space=3),
    _value("a version in words", "version: must be a whole number", version="one"),
    _value("a model that is text", "model: must be a mapping", model="bert-base-uncased"),
    _value("a model nowhere", "give exactly one of path, hub, wheel; got none", model={}),
    _value("a model in two places", "give exactly one of path, hub, wheel", model={"path": "model", "hub": "a/b"}),
    _value("a model without a revision", "revision", model={"hub": "bert-base-uncased"}),
    _value("a branch for a revision", "revision", "main", "commit", model={"hub": "a/b", "revision": "main"}),
    _value("a tag for a revision", "revision", "v1.0", "commit", model={"hub": "a/b", "revision": "v1.0"}),
    _value("a wheel without a hash", "a wheel asset needs the `sha256`", model={"wheel": "a==1", "member": "m"}),
    _value(
        "a wheel of any version",
        "model.wheel: must read name==version",
        model={"wheel": "a>=1", "member": "m", "sha256": "0" * 64},
    ),
    _value(
        "a member outside of its wheel",
        "model.member: must lie inside the wheel, got '../m'",
        model={"wheel": "a==1", "member": "../m", "sha256": "0" * 64},
    ),
    _value(
        "a hash of other letters",
        "model.sha256: must be 64 lower-case hex digits",
        model={"path": "model", "sha256": "A"},
    ),
    _value("a format nobody knows", "task.data.format", "did you mean 'csv'", task__data__format="cvs"),
    _value("a metric nobody knows", "task.metric", "accuracy", task__metric="f2"),
    _value(
        "a split that is no whole",
        "task.data.split: must be three positive shares that sum to 1",
        task__data__split=[0.8, 0.1, 0.3],
    ),
    _value("a split of two", "task.data.split[2]: is missing", task__data__split=[0.8, 0.2]),
    _value(
        "a pattern that is none",
        "is no regular expression",
        task__data__format="lines",
        task__data__pattern="(?P<text>[",
    ),
    _value(
        "a pattern without groups",
        "must name the groups (?P<text>...) and (?P<label>...)",
        task__data__format="lines",
        task__data__pattern="(.*)",
    ),
)
NAMES = tuple(
    _value(f"a study named {word}", "a study name holds 1 to 128 letters, digits", name=name)
    for word, name in {
        "as a path upwards": "../../x",
        "as a path from the root": "/etc/x",
        "with a nul": "a\0b",
        "with a newline": "a\nb",
        "in 300 letters": "x" * 300,
        "with escape codes": "\x1b[31mred",
        "as SQL": "'; DROP TABLE studies;--",
        "as an emoji": "\U0001f600",
        "from right to left": "a\u202eb",
        "with nothing": "",
        "with a leading dot": ".hidden",
        "as an option": "--force",
    }.items()
)
SPACES = (
    _step(
        "an operator nobody knows",
        "no operator is called 'prune_head'; did you mean 'prune_heads'",
        operator="prune_head",
    ),
    _step("a target that it cannot work on", "'prune_heads' cannot work on 'embeddings'", target="embeddings"),
    _step("a target too deep", "cannot work on", target="layers.*.attention.heads"),
    _step("heads of nothing", "knobs.heads.choices[0]", "0", knobs={"heads": {"choices": [0]}}),
    _step("heads below nothing", "knobs.heads.choices[0]", knobs={"heads": {"choices": [-3]}}),
    _step(
        "a share above all",
        "a share must lie above 0% and at most at 100%, got 150%",
        knobs={"heads": {"choices": ["150%"]}},
    ),
    _step("no choice", "choices: must hold at least one value", knobs={"heads": {"choices": []}}),
    _step("a choice twice", "choices: must be distinct, got 2, 2", knobs={"heads": {"choices": [2, 2]}}),
    _step("a range upside down", "`low <= high` must hold, got low=4, high=2", knobs={"heads": {"low": 4, "high": 2}}),
    _step("a step of nothing", "step: must be >= 1, got step=0", knobs={"heads": {"low": 1, "high": 4, "step": 0}}),
    _step("a knob that is a number", "knobs.heads: must be {choices: [...]}", knobs={"heads": 4}),
    _step("a setting nobody knows", "'prune_heads' has no setting 'head'; did you mean 'heads'", settings={"head": 2}),
    _step(
        "a knob that is fixed too",
        "a setting is either a knob or fixed, not both",
        knobs={"heads": {"choices": [2]}},
        settings={"heads": 2},
    ),
    _step("targets of a bound space", "is found out when a model is known", targets=["layers.0.attention"]),
    _value(
        "a space without steps",
        "a search space must hold at least one step",
        space={"name": "s", "version": 1, "steps": []},
    ),
    _value(
        "steps that are a mapping",
        "space.steps: must be a list, got a mapping",
        space={"name": "s", "version": 1, "steps": {}},
    ),
    _value(
        "a backward order",
        "stands after 'quantize'",
        "move it up, the order is",
        space={
            "name": "s",
            "version": 1,
            "steps": [
                {"operator": "quantize", "target": "layers.*", "settings": {"bits": 8}},
                {"operator": "remove_layer", "target": "layers.*", "optional": True},
            ],
        },
    ),
    _value(
        "a condition on nothing",
        "'x.y' is no knob asked once",
        space={
            "name": "s",
            "version": 1,
            "steps": [
                {"operator": "remove_layer", "target": "layers.*", "optional": True, "when": {"x.y": [1]}},
            ],
        },
    ),
    Broken(
        "a broken space of one's own",
        written("search_spaces/mine.yaml", "name: mine\nsteps: 3\n"),
        "check search_spaces/mine.yaml",
        2,
        ("search_spaces/mine.yaml:2: steps: must be a list, got 3",),
    ),
)
ROWS = (*TEXTS, *NUMBERS, *BOUNDS, *KEYS, *NAMES, *SPACES)
