"""Two candidates of a study, or two studies, beside each other.

`policies`      where two policies part, part by part
`deltas`        metric by metric how far two candidates lie apart, and how sure that is
`candidates`    the two of a study
`studies`       what two studies were asked, where they ran, and what they found
`tables`        the same for a terminal
"""

from autocompress.report.comparing.candidates import ComparedCandidates, compare_candidates
from autocompress.report.comparing.studies import ComparedStudies, compare_studies
from autocompress.report.comparing.tables import as_comparison

__all__ = ["ComparedCandidates", "ComparedStudies", "as_comparison", "compare_candidates", "compare_studies"]
