"""Who may import whom: strictly downwards, and one home for each third-party library."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "autocompress"

LINES = [
    {"errors"},
    {"core"},
    {"families", "certainty", "planning"},
    {"config", "assets", "anatomy", "samplers", "runners", "store", "reading", "inputs"},
    {"operators", "tasks", "deploy", "distill", "importance", "search", "cascades", "guessing"},
    {"pricing", "devices", "teacher", "report"},
    {"candidates", "exported", "loggers"},
    {"finalists", "explain"},
    {"study"},
    {"cli", "testing", "auto", "__init__", "__main__"},
]
HOMES = {
    "IPython": {"report"},
    "optuna": {"samplers", "report"},
    "ray": {"runners"},
    "sqlalchemy": {"store"},
    "alembic": {"store"},
    "onnx": {"deploy", "exported"},
    "onnxruntime": {"deploy"},
    "openvino": {"deploy"},
    "typer": {"cli"},
    "rich": {"cli", "report"},
    "PIL": {"inputs", "reading"},
    "pydantic": {"config"},
    "yaml": {"config"},
    "pandas": {"reading", "report", "study"},
    "pyarrow": {"reading"},
    "regex": {"reading"},
    "sklearn": {"tasks"},
    "huggingface_hub": {"assets"},
    "tensorboardX": {"loggers"},
    "mlflow": {"loggers"},
    "wandb": {"loggers"},
    "transformers": {"tasks", "teacher", "anatomy", "exported"},
}
STANDARD_ONLY = {"errors", "core", "families"}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(module, only for type checking) of every import in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    checking = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in checking) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            assert node.module is not None
            if node.module == "autocompress":
                yield from ((f"autocompress.{alias.name}", id(node) in checking) for alias in node.names)
            else:
                yield node.module, id(node) in checking


def files() -> Iterator[Path]:
    return (path for path in sorted(PACKAGE.rglob("*.py")) if "migrations" not in path.parts)


def test_imports_point_downwards() -> None:
    height = {name: level for level, names in enumerate(LINES) for name in names}
    wrong = []
    for path in files():
        here = room(path)
        for module, _ in imports(path):
            if not module.startswith("autocompress.") or here == "__main__":
                continue
            there = module.split(".")[1]
            if there != here and height[there] >= height[here]:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {module}")
    assert wrong == []


def test_every_library_has_one_home() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {module}"
        for path in files()
        for module, _ in imports(path)
        if (homes := HOMES.get(module.split(".")[0])) is not None and room(path) not in homes
    ]
    assert wrong == []


def test_the_core_needs_the_standard_library_alone() -> None:
    import sys

    wrong = [
        f"{path.relative_to(PACKAGE)} imports {module}"
        for path in files()
        if room(path) in STANDARD_ONLY
        for module, checking in imports(path)
        if not checking and module.split(".")[0] not in {*sys.stdlib_module_names, "autocompress"}
    ]
    assert wrong == []


def test_nothing_is_pickled() -> None:
    forbidden = {"pickle", "joblib", "dill", "cloudpickle"}
    wrong = [str(path) for path in files() for module, _ in imports(path) if module.split(".")[0] in forbidden]
    assert wrong == []
    assert not [
        path
        for path in files()
        for line in path.read_text("utf-8").splitlines()
        if "torch.save(" in line
        or ("torch.load(" in line and "weights_only=True" not in line)
        or ("torch.load(" in line and path.name != "unpickling.py")  # a process of its own, asked for by the user
    ]


def test_the_search_loop_knows_neither_torch_nor_ray_nor_optuna() -> None:
    import subprocess
    import sys

    code = "import sys, autocompress.search; print(*{'torch', 'ray', 'optuna', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
