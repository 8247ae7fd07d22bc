"""What a study is about, by a checkpoint's settings and the columns of the data: guesses, each with its reason, and a
refusal that names the choices where a guess would not be sure. Nothing here reads a file."""

from autocompress.guessing.checkpoints import Checkpoint, checkpoint_of
from autocompress.guessing.columns import Column, column_of
from autocompress.guessing.lengths import Lengths, lengths_of
from autocompress.guessing.reasons import Reason
from autocompress.guessing.roles import Named, Roles, label_of, roles_of
from autocompress.guessing.tasks import kind_of

__all__ = [
    "Checkpoint",
    "Column",
    "Lengths",
    "Named",
    "Reason",
    "Roles",
    "checkpoint_of",
    "column_of",
    "kind_of",
    "label_of",
    "lengths_of",
    "roles_of",
]
