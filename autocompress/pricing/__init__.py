"""Rung 0: what a policy costs, and what a space can reach, from shapes and a device profile alone."""

from autocompress.pricing.points import point_of
from autocompress.pricing.prices import Pricing, peak_bytes, throughput
from autocompress.pricing.ranges import Known, Point, cheapest_whole, draw, furthest, reachable, reference_point
from autocompress.pricing.repricing import repriced

__all__ = [
    "Known",
    "Point",
    "Pricing",
    "cheapest_whole",
    "draw",
    "furthest",
    "peak_bytes",
    "point_of",
    "reachable",
    "reference_point",
    "repriced",
    "throughput",
]
