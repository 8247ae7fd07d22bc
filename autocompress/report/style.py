"""The style sheet of the HTML report."""

from __future__ import annotations

from typing import Final

from autocompress.report.palette import BASELINE, CASCADE, ESTIMATE, INK, KNEE, MUTED, RULE, VERIFIED

STYLE: Final = (
    f"""
:root {{ color-scheme: light dark; --ink: {INK}; --muted: {MUTED}; --rule: {RULE}; --page: #F6F7F9; --card: #FFFFFF;
  --verified: {VERIFIED}; --baseline: {BASELINE}; --knee: {KNEE}; --estimate: {ESTIMATE};
  --cascade: {CASCADE}; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #E8ECF1; --muted: #9AA6B3; --rule: #2B333D; --page: #12161B; --card: #1A2027;
    --verified: #56B4E9; --baseline: #F0894A; --knee: #E08FC0; --estimate: #6F7A86;
    --cascade: #3CC49B; }}
}}
"""
    """
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 48px 24px 64px; }
h1 { font-size: 30px; line-height: 1.2; letter-spacing: -0.02em; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 13px; font-weight: 600; color: var(--muted); margin: 0 0 16px; }
p { margin: 0; }
header { display: flex; flex-wrap: wrap; gap: 8px 14px; align-items: center; margin-bottom: 28px; }
header p { flex-basis: 100%; color: var(--muted); max-width: 70ch; overflow-wrap: anywhere; }
.badge { font-size: 12px; font-weight: 600; border: 1px solid var(--rule); border-radius: 99px; padding: 2px 10px;
  background: var(--card); color: var(--muted); }
section { background: var(--card); border: 1px solid var(--rule); border-radius: 12px; padding: 24px;
  margin-top: 20px; }
.tiles { display: flex; flex-wrap: wrap; gap: 1px; padding: 0; overflow: hidden; background: var(--rule); }
.tiles div { flex: 1 1 170px; background: var(--card); padding: 20px 24px; }
.tiles b { display: block; font-size: 28px; line-height: 1.2; font-weight: 650; letter-spacing: -0.02em;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
.tiles span { color: var(--muted); font-size: 13px; }
figure { margin: 0; }
.plot { display: block; width: 100%; height: auto; }
.plot text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; fill: var(--ink); }
.plot .tick, .plot .axis { fill: var(--muted); }
.plot .rule { stroke: var(--rule); }
.plot .base { stroke: var(--muted); }
.plot .front { fill: none; stroke: var(--verified); stroke-opacity: .4; stroke-width: 1.5; }
.plot .strong { font-weight: 700; }
.plot .label { paint-order: stroke; stroke: var(--card); stroke-width: 3px; stroke-linejoin: round; }
.plot .leader { stroke: var(--muted); stroke-width: .7; }
.plot .estimate { fill: var(--estimate); fill-opacity: .4; }
.plot .verified { fill: var(--verified); stroke: var(--verified); }
.plot .cascade { fill: var(--cascade); stroke: var(--card); stroke-width: 1.5; }
.plot .baseline { fill: var(--baseline); stroke: var(--baseline); }
.plot .dot, .plot rect { stroke: var(--card); stroke-width: 1.5; }
.plot .span { stroke-width: 2; stroke-opacity: .5; stroke-linecap: round; }
.plot .level { stroke-dasharray: 4 5; stroke-opacity: .6; }
.plot .knee { fill: none; stroke: var(--knee); stroke-width: 1.8; }
figcaption { display: flex; flex-wrap: wrap; gap: 4px 20px; margin-top: 14px; color: var(--muted); font-size: 13px; }
.key::before { content: ""; display: inline-block; width: 10px; height: 10px; border-radius: 50%; margin-right: 7px; }
.key.verified::before { background: var(--verified); }
.key.cascade::before { background: var(--cascade); clip-path: polygon(50% 0, 100% 100%, 0 100%); border-radius: 0; }
.key.baseline::before { background: var(--baseline); border-radius: 2px; }
.key.estimate::before { background: var(--estimate); opacity: .5; }
.key.knee::before { border: 2px solid var(--knee); }
.scroll { overflow-x: auto; margin: 0 -24px; padding: 0 24px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th { font-size: 12px; font-weight: 600; color: var(--muted); text-align: right; padding: 0 12px 10px 0;
  white-space: nowrap; vertical-align: bottom; }
td { text-align: right; padding: 9px 12px 9px 0; border-top: 1px solid var(--rule); white-space: nowrap; }
th:first-child, td:first-child, th:last-child, td:last-child { text-align: left; }
td:last-child, tr.cascade td:nth-last-child(2) { text-align: left; white-space: normal; min-width: 170px;
  color: var(--muted); font-size: 13px; }
td:last-child { padding-right: 0; }
tr.cascade td:nth-last-child(-n+2) { min-width: 110px; }
table:has(tr.cascade) th:nth-last-child(2) { text-align: left; }
td small { display: block; color: var(--muted); font-size: 12px; }
tr.knee td:first-child code { color: var(--knee); font-weight: 700; }
tr.baseline td:first-child { color: var(--baseline); font-weight: 600; }
tr.estimate td { color: var(--muted); }
code { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
details { margin-top: 18px; }
summary { cursor: pointer; color: var(--muted); font-size: 13px; }
details .scroll { margin-top: 16px; }
table.steps td { vertical-align: top; }
table.steps :is(th, td):last-child { text-align: right; white-space: nowrap; min-width: 0; }
table.steps td:last-child { color: inherit; font-size: inherit; }
.notes { margin: 18px 0 0; padding: 0; list-style: none; color: var(--muted); font-size: 13px; }
.notes li { padding: 2px 0; max-width: 90ch; overflow-wrap: anywhere; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(260px, 1fr)); gap: 28px 40px; }
dl { display: grid; grid-template-columns: minmax(90px, max-content) 1fr; gap: 5px 16px; margin: 0; font-size: 14px; }
dt { color: var(--muted); }
dd { margin: 0; overflow-wrap: anywhere; }
[hidden] { display: none !important; }
button, select, input { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--rule);
  border-radius: 6px; padding: 3px 8px; }
button { cursor: pointer; }
th button { font-weight: inherit; border: 0; padding: 0; background: none; }
th[aria-sort="ascending"] button::after { content: " ↑"; }
th[aria-sort="descending"] button::after { content: " ↓"; }
button.copy { font-size: 11px; color: var(--muted); padding: 0 6px; }
.controls { display: flex; flex-wrap: wrap; gap: 8px 16px; align-items: center; margin: 0 0 16px; font-size: 13px;
  color: var(--muted); }
.controls input { min-width: min(280px, 100%); }
details .controls { margin-top: 16px; }
.plot [data-id] { cursor: pointer; }
.plot .estimate .dot { stroke: none; }
tr.pointed td { background: color-mix(in srgb, var(--knee) 14%, transparent); }
.tip { position: absolute; z-index: 1; max-width: 300px; padding: 10px 14px; border: 1px solid var(--rule);
  border-radius: 8px; background: var(--card); box-shadow: 0 4px 18px rgb(0 0 0 / .18); font-size: 13px;
  pointer-events: none; }
.tip p { color: var(--muted); margin-bottom: 6px; }
.tip dl { font-size: 13px; gap: 1px 12px; }
footer { margin-top: 28px; color: var(--muted); font-size: 13px; }
@media (max-width: 600px) { main { padding: 28px 14px 40px; } section { padding: 18px; }
  .scroll { margin: 0 -18px; padding: 0 18px; } .plot { min-width: 640px; } }
@media print { body { background: none; } section { break-inside: avoid; } }
"""
)
