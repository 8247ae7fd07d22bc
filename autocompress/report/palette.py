"""The colours of plots and pages: the set of Okabe and Ito (2008), which colour-blind readers tell apart."""

from __future__ import annotations

from typing import Final

VERIFIED: Final = "#0072B2"
BASELINE: Final = "#D55E00"
KNEE: Final = "#B3458B"  # their reddish purple, darkened to 4.5:1 on white
ESTIMATE: Final = "#8A929C"
CASCADE: Final = "#007A5A"  # their bluish green, darkened to 4.5:1 on white
INK: Final = "#1B2430"
MUTED: Final = "#5B6673"
RULE: Final = "#E3E7EC"
SHADES: Final = ("#F1F5F8", "#B5D5EA", "#56A0D0", VERIFIED, "#0A2F4C")
"""From little to much, in print and for every eye: lightness falls all the way."""
