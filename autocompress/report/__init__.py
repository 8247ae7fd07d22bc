"""Reading a study's result: the Pareto front as table, plot, page and file, and the one member to take."""

from autocompress.report.bounds import PickBounds
from autocompress.report.cascade_picking import PickedCascade, pick_cascade
from autocompress.report.cascades import with_cascades
from autocompress.report.front import Baseline, FrontReport, Hypervolume, Member, Relative, front_report
from autocompress.report.html import as_html
from autocompress.report.markdown import as_markdown
from autocompress.report.picking import Picked, pick
from autocompress.report.png import as_png
from autocompress.report.policies import Explained, LayerRow, explain_policy
from autocompress.report.settling import Settled, settle
from autocompress.report.spreadsheet import as_csv
from autocompress.report.table import as_picked, as_table
from autocompress.report.ties import Tie

__all__ = [
    "Baseline",
    "Explained",
    "FrontReport",
    "Hypervolume",
    "LayerRow",
    "Member",
    "PickBounds",
    "Picked",
    "PickedCascade",
    "Relative",
    "Settled",
    "Tie",
    "as_csv",
    "as_html",
    "as_markdown",
    "as_picked",
    "as_png",
    "as_table",
    "explain_policy",
    "front_report",
    "pick",
    "pick_cascade",
    "settle",
    "with_cascades",
]
