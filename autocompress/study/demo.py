"""Data, a model and a study that need neither a network nor anything of the user's: small and real, to see the whole
way within two minutes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from autocompress.assets import atomic_folder
from autocompress.errors import SpecError
from autocompress.study.beginning import Asked

DROP: Final = "2pt"
"""The bound that a model is taken by: some 900 digits are held out, which tell no less."""

SETTINGS: Final[Mapping[str, str]] = {
    "budget.minutes": "null",
    "budget.trials": "80",
    "elastic.steps": "150",
    "finalists.count": "2",
    "finalists.training.epochs": "10",
    "export.form": "written",
}
"""Where the study is smaller than one that `compress` guesses; not planned by minutes, as planning takes some too."""

_HEAD: Final = "# The autocompress demo\n"
_ABOUT: Final = f"""{_HEAD}
Made by `autocompress demo`, and yours to look into, change or remove.

- `digits/`: 1,797 handwritten digits of 8 x 8 pixels that come along with scikit-learn, by split and class.
- `checkpoint/`: a ViT of six layers that was trained from nothing on the training part, in seconds.
- `picked/`: the smaller model that was taken, exported and verified.

It is small on purpose: what it gains and loses says nothing about a model of yours.
"""


@final
@dataclass(frozen=True, slots=True)
class Demo:
    """Where its parts lie."""

    folder: Path

    @property
    def digits(self) -> Path:
        return self.folder / "digits"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint"

    @property
    def picked(self) -> Path:
        return self.folder / "picked"

    def is_made(self) -> bool:
        """Whether data and model are there already. Raises SpecError where something else is."""
        if not self.folder.exists():
            return False
        about = self.folder / "README.md"
        if self.folder.is_dir() and about.is_file() and about.read_text("utf-8", errors="replace").startswith(_HEAD):
            return True
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            return False
        raise SpecError(
            f"--out: {self.folder} is there and was not made by the demo; name a folder that is new or empty"
        )

    def make(self, progress: Callable[[float, float], None], *, epochs: int | None = None) -> None:
        """Writes the digits and trains the checkpoint on those to train on; all of it is there at once, or nothing.
        `progress` is told batches that are done and all of them."""
        from autocompress.tasks.digits import digits_by_split, write_digits
        from autocompress.teacher.small_vit import train_small_vit

        splits = digits_by_split()
        learned = splits["train"]
        names = [str(label) for label in sorted(set(learned.labels.tolist()))]
        with atomic_folder(self.folder) as temporary:
            draft = Demo(temporary)
            write_digits(splits, draft.digits)
            more = {} if epochs is None else {"epochs": epochs}
            train_small_vit(draft.checkpoint, learned.pixels, learned.labels, names, on_batch=progress, **more)
            (temporary / "README.md").write_text(_ABOUT, encoding="utf-8")

    def asked(self, name: str) -> Asked:
        """The study, as `compress` is asked for one."""
        return Asked(str(self.checkpoint), str(self.digits), name=name, settings=SETTINGS)

    def alike(self) -> Alike:
        """The picked model beside the checkpoint, on the digits that neither of them was trained or chosen by."""
        from autocompress.deploy.loader import ExportedModel
        from autocompress.teacher.small_vit import answered

        images = sorted((self.digits / "test").rglob("*.png"))
        before = answered(self.checkpoint, images)
        after = [one.label for one in ExportedModel(self.picked)(images)]
        right = [path.parent.name for path in images]
        return Alike(
            rows=len(images),
            alike=_same(before, after),
            right_before=_same(before, right),
            right_after=_same(after, right),
        )


@final
@dataclass(frozen=True, slots=True)
class Alike:
    """Of so many rows, those that a checkpoint and a picked model answer alike, and those that each answers right."""

    rows: int
    alike: int
    right_before: int
    right_after: int

    def __str__(self) -> str:
        return (
            f"{self.alike} of {self.rows} test digits are answered as the checkpoint answers them; right are "
            f"{self.right_after}, and {self.right_before} of the checkpoint's answers"
        )


def _same(some: list[str], others: list[str]) -> int:
    return sum(one == other for one, other in zip(some, others, strict=True))
