"""The style of the report page. Every rule is below the class ``tk``, so that a notebook that shows a part of it keeps its own looks."""

STYLE = """
.tk { --ink: #1b1f24; --soft: #57606a; --line: #d5dae0; --paper: #ffffff; --tint: #f4f6f8; --mark: #0072b2;
  --good: #0b6b3a; --bad: #a5321d; color: var(--ink); font: 17px/1.55 system-ui, "Segoe UI", Roboto, sans-serif; }
body.tk { margin: 0; background: var(--paper); color-scheme: light dark; }
@media (prefers-color-scheme: dark) { body.tk { --ink: #e6e8eb; --soft: #9aa4af; --line: #3a424b; --paper: #15181c;
  --tint: #1e2329; --mark: #56b4e9; --good: #6fd39b; --bad: #ff9d85; } }
.tk *, .tk { box-sizing: border-box; }
.tk main { max-width: 66rem; margin: 0 auto; padding: 2rem 1.2rem 4rem; }
.tk h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .4rem; overflow-wrap: anywhere; }
.tk h1 small { display: inline-block; font-size: .95rem; font-weight: 600; color: var(--paper); background: var(--bad);
  border-radius: 4px; padding: .1rem .6rem; vertical-align: middle; }
.tk h2 { font-size: 1.3rem; margin: 2.4rem 0 .6rem; padding-top: .8rem; border-top: 1px solid var(--line); }
.tk h3 { font-size: 1.05rem; margin: 1.4rem 0 .3rem; }
.tk p, .tk li, .tk dd, .tk figcaption { max-width: 46rem; }
.tk .question { font-size: 1.15rem; color: var(--soft); margin: 0 0 1rem; }
.tk nav { font-size: .92rem; margin: 0 0 1.2rem; }
.tk nav ul { display: flex; flex-wrap: wrap; gap: .15rem 1.1rem; list-style: none; margin: 0; padding: 0; }
.tk .verdict { background: var(--tint); border-left: 4px solid var(--mark); padding: .7rem 1.2rem; border-radius: 4px; }
.tk .verdict.none { border-color: var(--bad); }
.tk .verdict p { margin: .45rem 0; }
.tk .note, .tk figcaption { color: var(--soft); font-size: .9rem; }
.tk .wide { overflow-x: auto; margin: .2rem 0 .8rem; }
.tk table { border-collapse: separate; border-spacing: 0; font-size: .9rem; font-variant-numeric: tabular-nums; }
.tk .caption { color: var(--soft); font-size: .9rem; margin: 1rem 0 .2rem; }
.tk th, .tk td { padding: .35rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
.tk thead th { white-space: normal; min-width: 4.6rem; vertical-align: bottom; border-bottom: 2px solid var(--soft); }
.tk th[scope=row], .tk thead th:first-child { text-align: left; position: sticky; left: 0; background: var(--paper); }
.tk .left { text-align: left; }
.tk .better { color: var(--good); font-weight: 600; }
.tk .worse { color: var(--bad); font-weight: 600; }
.tk td.none { color: var(--soft); }
.tk dl { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; gap: .25rem 1.2rem; }
.tk dt { color: var(--soft); overflow-wrap: anywhere; }
.tk dd { margin: 0; overflow-wrap: anywhere; }
.tk figure { margin: 1.6rem 0; }
.tk figure .wide { margin: 0 0 .4rem; background: #fff; border-radius: 4px; }
.tk figure img { display: block; width: 100%; height: auto; }
.tk details { border-top: 1px solid var(--line); padding: .2rem 0; }
.tk details:last-of-type { border-bottom: 1px solid var(--line); }
.tk summary { cursor: pointer; padding: .45rem 0; font-size: 1.1rem; font-weight: 600; }
.tk pre { background: var(--tint); padding: .8rem 1rem; border-radius: 4px; overflow-x: auto; font-size: .85rem; }
.tk a { color: inherit; }
@media (max-width: 60rem) { .tk figure img { min-width: var(--least, 0); } }
@media (max-width: 40rem) { .tk { font-size: 16px; } .tk main { padding: 1.2rem .8rem 3rem; } .tk h1 { font-size: 1.6rem; }
  .tk dl { grid-template-columns: 1fr; } .tk dd { margin-bottom: .5rem; }
  .tk th, .tk td { padding: .3rem .5rem; }
  .tk th[scope=row], .tk thead th:first-child { white-space: normal; min-width: 6.5rem; max-width: 9rem; overflow-wrap: break-word; } }
@media print { .tk { font-size: 10.5pt; } .tk main { max-width: none; padding: 0; } .tk nav { display: none; }
  .tk .wide { overflow: visible; }
  .tk table { font-size: 8pt; } .tk th, .tk td { padding: .2rem .35rem; white-space: normal; } .tk figure, .tk tr { break-inside: avoid; }
  .tk figure img { min-width: 0 !important; } .tk h2, .tk summary { break-after: avoid; }
  .tk details::details-content { content-visibility: visible; block-size: auto; } .tk pre { white-space: pre-wrap; } }
"""
