"""The look of the tearsheet: light and dark, screen widths down to a phone. No font or image is fetched."""

from __future__ import annotations

STYLE = """
:root{--ink:#1c2430;--soft:#5b6675;--line:#e3e7ed;--card:#fff;--page:#f5f7fa;--blue:#2563eb;--grey:#94a3b8;--red:#dc2626;
  --green:#15803d}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa6b5;--line:#2a3442;--card:#161d27;--page:#0e141c;--blue:#60a5fa;
  --grey:#64748b;--red:#f87171;--green:#4ade80}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:14px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1040px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:24px;margin:0 0 4px}
h2{font-size:16px;margin:0 0 12px}
.sub{color:var(--soft);margin:0 0 20px}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:18px;margin:0 0 16px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(124px,1fr));gap:10px;margin:0 0 16px}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 14px}
.card b{display:block;font-size:20px;font-variant-numeric:tabular-nums}
.card span{color:var(--soft);font-size:12px}
.card small{display:block;color:var(--soft);font-size:11px}
.up{color:var(--green)}
.down{color:var(--red)}
svg{display:block;width:100%;height:auto}
.grid{stroke:var(--line)}
.faint{opacity:.6}
.tick{fill:var(--soft);font-size:11px}
.line{fill:none;stroke-width:1.7;stroke-linejoin:round}
.line.equity{stroke:var(--blue)}
.line.hold{stroke:var(--grey);stroke-dasharray:5 4}
.line.dd{stroke:var(--red)}
.area{stroke:none;opacity:.15}
.area.dd{fill:var(--red)}
.legend{color:var(--soft);font-size:12px;margin:0 0 6px}
.legend i{display:inline-block;width:22px;border-top:2px solid;margin:0 6px 3px 14px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:4px 8px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th{color:var(--soft);font-weight:500;font-size:12px;position:sticky;top:0;background:var(--card)}
th:first-child,td:first-child{text-align:left}
.scroll{overflow:auto;max-height:460px}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:16px}
.pair section{margin:0}
@media(max-width:760px){.pair{grid-template-columns:1fr}}
li{margin:0 0 6px}
.mono{font-family:ui-monospace,monospace;font-size:12px}
.months td{text-align:right}
.pair{margin:0 0 16px}
"""
