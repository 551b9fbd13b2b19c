"""Style sheet of the HTML report: light and dark, from 320 pixels upwards."""

__all__ = ["STYLE"]

STYLE = """
:root {
  color-scheme: light dark;
  --bg: #f6f7f9; --surface: #fff; --line: #e3e6eb; --text: #171b22; --soft: #5b6472;
  --good: #14703c; --good-bg: #e7f5ec; --warn: #8a5300; --warn-bg: #fff4df;
  --bad: #b3261e; --bad-bg: #fdecea; --code: #f0f2f5;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
@media (prefers-color-scheme: dark) {
  :root {
    --bg: #0f1217; --surface: #171b22; --line: #2a303a; --text: #e8ebf0; --soft: #9aa4b2;
    --good: #7fd6a1; --good-bg: #12301f; --warn: #f2c26b; --warn-bg: #33270f;
    --bad: #ff9b93; --bad-bg: #3a1b19; --code: #0f1319;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--text); }
main { max-width: 68rem; margin: 0 auto; padding: 1.5rem 1.25rem 3rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .75rem; overflow-wrap: anywhere; }
h2 { font-size: 1.0625rem; margin: 0 0 .5rem; }
p { margin: .25rem 0; }
.soft, footer { color: var(--soft); font-size: .875rem; }
footer { margin-top: 1.5rem; overflow-wrap: anywhere; }
.verdict { font-size: 1.0625rem; font-weight: 600; padding: .75rem 1rem; border-radius: 10px; }
.verdict { margin-bottom: .5rem; }
section {
  background: var(--surface); border: 1px solid var(--line); border-radius: 10px;
  padding: 1rem 1.25rem; margin-top: 1rem;
}
.passed { color: var(--good); } .failed { color: var(--bad); } .skipped { color: var(--warn); }
.verdict.passed, .badge.passed { background: var(--good-bg); }
.verdict.failed, .badge.failed { background: var(--bad-bg); }
.verdict.skipped, .badge.skipped { background: var(--warn-bg); }
.badge {
  font-size: .8125rem; font-weight: 600; padding: .1rem .5rem; border-radius: 999px;
  display: inline-block; min-width: 2.25rem; text-align: center;
}
table { border-collapse: collapse; width: 100%; font-size: .9375rem; }
th, td { padding: .25rem .5rem; border-top: 1px solid var(--line); text-align: center; }
th { font-weight: 500; }
thead th, thead td { border-top: 0; color: var(--soft); font-size: .8125rem; padding-top: 0; }
.counts { width: auto; min-width: 50%; }
.counts th:first-child, .counts td:first-child, tbody th { text-align: left; }
td { font-variant-numeric: tabular-nums; }
.matrix [scope=row] { overflow-wrap: anywhere; font-size: .875rem; }
.matrix [scope=rowgroup] { font-weight: 650; padding-top: .75rem; border-top: 0; }
.matrix .first, .matrix [scope=colgroup] { border-left: 1px solid var(--line); }
.matrix em { color: var(--warn); font-style: normal; font-size: .8125rem; }
.narrow { display: none; }
details { border-top: 1px solid var(--line); }
details details { margin-left: 1rem; }
summary { cursor: pointer; overflow-wrap: anywhere; padding: .4rem 0; }
summary:focus-visible { outline: 3px solid var(--soft); outline-offset: 2px; border-radius: 6px; }
ul { margin: 0; padding: 0 0 .5rem 1.5rem; font-size: .875rem; }
li { overflow-wrap: anywhere; }
pre {
  font: .8125rem/1.5 ui-monospace, "SF Mono", "Cascadia Code", Menlo, Consolas, monospace;
  white-space: pre-wrap; overflow-wrap: anywhere; background: var(--code);
  padding: .75rem; border-radius: 6px; margin: 0 0 .75rem;
}
@media (max-width: 46rem) {
  main { padding: 1rem .5rem 2rem; }
  section { padding: .75rem .5rem; }
  .narrow { display: inline; }
  .wide { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  h1 { font-size: 1.25rem; }
  .matrix { font-size: .8125rem; }
  .matrix th, .matrix td { padding: .25rem .1rem; }
  .matrix [scope=row] { overflow-wrap: normal; font-size: .8125rem; line-height: 1.3; }
  .matrix [scope=colgroup] { font-size: .75rem; }
  .counts { width: 100%; font-size: .8125rem; }
  .counts th, .counts td { padding: .25rem .15rem; }
  details details { margin-left: .5rem; }
}
"""
