"""The look of a page."""

STYLE = """
body { margin: 0 auto; padding: 1.5em 2em 4em; max-width: 62em; color: #1a1a1a; background: #fff;
  font: 16px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
header { border-bottom: 3px solid #0072B2; margin-bottom: 1.5em; padding-bottom: 1em; }
header h1 { margin: 0 0 .4em; font-size: 1.7em; overflow-wrap: anywhere; }
h1, h2, h3, h4 { line-height: 1.25; margin: 1.2em 0 .5em; }
a { color: #0072B2; }
pre, code, kbd, samp { font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: .875rem; }
pre { margin: 0; padding: .5em .8em; overflow-x: auto; line-height: 1.4; white-space: pre-wrap;
  overflow-wrap: anywhere; }
:not(pre) > code { background: #f2f4f6; padding: .1em .3em; border-radius: 3px; }
img, video { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-size: .92em; margin: .4em 0; }
th, td { padding: .25em .7em; text-align: left; border-bottom: 1px solid #dde3e8;
  vertical-align: top; }
td { font-variant-numeric: tabular-nums; }
.code_cell { margin: 1.1em 0; }
.prompt:empty, .text_cell > .prompt { display: none; }
.input { display: flex; background: #f6f8fa; border-left: 4px solid #0072B2; border-radius: 3px; }
.input .inner_cell { flex: 1; min-width: 0; }
.input .prompt { flex: none; width: 4.2em; padding: .55em 0 0 .6em; color: #57606a;
  font: .78rem ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.highlight pre { background: none; }
.output { padding: .4em 0 0 .4em; overflow-x: auto; }
.shown { margin: .4em 0; }
.stderr { background: #fff6e5; border-left: 4px solid #E69F00; }
.error { background: #fdf0ea; border-left: 4px solid #D55E00; }
.note { color: #57606a; font-style: italic; border-left: 4px solid #cfd6dd; padding-left: .8em; }
.absent { color: #57606a; font-style: italic; }
math[display="block"] { margin: .6em 0; font-size: 1.15em; }
.row { display: flex; flex-wrap: wrap; gap: .2em 1em; align-items: center; }
.widget .box { border-left: 2px solid #dde3e8; padding-left: .8em; }
progress { width: 14em; vertical-align: middle; accent-color: #0072B2; }
.ansi-bold { font-weight: bold; }
.ansi-underline { text-decoration: underline; }
.ansi-black-fg, .ansi-black-intense-fg { color: #24292f; }
.ansi-red-fg, .ansi-red-intense-fg { color: #b42318; }
.ansi-green-fg, .ansi-green-intense-fg { color: #116329; }
.ansi-yellow-fg, .ansi-yellow-intense-fg { color: #7d4e00; }
.ansi-blue-fg, .ansi-blue-intense-fg { color: #0550ae; }
.ansi-magenta-fg, .ansi-magenta-intense-fg { color: #8250df; }
.ansi-cyan-fg, .ansi-cyan-intense-fg { color: #1b6f77; }
.ansi-white-fg, .ansi-white-intense-fg { color: #6e7781; }
.ansi-black-bg, .ansi-black-intense-bg { background-color: #d0d7de; }
.ansi-red-bg, .ansi-red-intense-bg { background-color: #ffd0c7; }
.ansi-green-bg, .ansi-green-intense-bg { background-color: #c9f0d0; }
.ansi-yellow-bg, .ansi-yellow-intense-bg { background-color: #fff0b3; }
.ansi-blue-bg, .ansi-blue-intense-bg { background-color: #cfe5ff; }
.ansi-magenta-bg, .ansi-magenta-intense-bg { background-color: #ecd8ff; }
.ansi-cyan-bg, .ansi-cyan-intense-bg { background-color: #c8eef2; }
.ansi-white-bg, .ansi-white-intense-bg { background-color: #eef1f4; }
.ansi-default-inverse-fg { color: #fff; }
.ansi-default-inverse-bg { background-color: #24292f; }
@media print { body { max-width: none; padding: 0; } .code_cell { break-inside: avoid; } }
"""
