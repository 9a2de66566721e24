"""Self-contained HTML of pages: no script, nothing from outside, everything escaped, readable in light and dark."""

from __future__ import annotations

from html import escape

from zarrds.display.page import Page, Table

__all__ = ["STYLE", "document_of", "html_of", "table_html"]

# the colours of light, and of dark where the browser, Jupyter, VS Code or Sphinx say so
_DARK = "--zs-text:#e6e6e6;--zs-faint:#a8a8a8;--zs-line:#4a4a4a;--zs-back:#1e1e1e;--zs-fill:#27435c;--zs-edge:#8ab8e0;"
STYLE = (
    ".zarrds{--zs-text:#1a1a1a;--zs-faint:#5c5c5c;--zs-line:#d0d0d0;--zs-back:#ffffff;--zs-fill:#d8e6f3;"
    "--zs-edge:#2a5d8a;color:var(--zs-text);background:var(--zs-back);font:13px/1.45 system-ui,sans-serif;"
    "padding:.5em .75em;max-width:100%;box-sizing:border-box}"
    f"@media(prefers-color-scheme:dark){{.zarrds{{{_DARK}}}}}"
    f"html[data-theme=dark] .zarrds,body[data-theme=dark] .zarrds,[data-jp-theme-light=false] .zarrds,"
    f".vscode-dark .zarrds{{{_DARK}}}"
    "html[data-theme=light] .zarrds,body[data-theme=light] .zarrds,[data-jp-theme-light=true] .zarrds,"
    ".vscode-light .zarrds{--zs-text:#1a1a1a;--zs-faint:#5c5c5c;--zs-line:#d0d0d0;--zs-back:#ffffff;"
    "--zs-fill:#d8e6f3;--zs-edge:#2a5d8a}"
    ".zarrds .zs-head{font-weight:600;overflow-wrap:anywhere}"
    ".zarrds dl{display:grid;grid-template-columns:max-content 1fr;gap:0 1em;margin:.4em 0}"
    ".zarrds dt{color:var(--zs-faint)}.zarrds dd{margin:0;overflow-wrap:anywhere}"
    ".zarrds .zs-scroll{overflow-x:auto}"
    ".zarrds table{border-collapse:collapse;margin:.2em 0 .6em;color:inherit;background:none}"
    ".zarrds caption,.zarrds summary{text-align:left;font-weight:600;padding:.2em 0;color:inherit}"
    ".zarrds th,.zarrds td{text-align:left;vertical-align:top;padding:.15em .8em .15em 0;color:inherit;"
    "border-bottom:1px solid var(--zs-line);overflow-wrap:break-word;max-width:40em;background:none}"
    ".zarrds td.zs-short{white-space:nowrap}"
    ".zarrds th{color:var(--zs-faint);font-weight:500;white-space:nowrap}"
    ".zarrds svg{display:block}.zarrds svg .f{fill:var(--zs-fill);stroke:var(--zs-edge)}"
    ".zarrds svg .l{stroke:var(--zs-edge);stroke-width:.6}"
)

# so many characters, as those of a size, stay on one line
_SHORT = 12


def html_of(page: Page) -> str:
    """A page as one ``div`` that brings its style along, for notebooks.

    Examples
    --------
    >>> "&lt;b&gt;" in html_of(Page("<b>"))
    True
    """
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in page.facts)
    parts = [
        f"<style>{STYLE}</style>",
        f'<div class="zs-head">{escape(page.heading)}</div>',
        f"<dl>{facts}</dl>" if facts else "",
        *map(table_html, page.tables),
    ]
    return f'<div class="zarrds">{"".join(parts)}</div>'


def table_html(table: Table) -> str:
    """A table of a page, or nothing if it has no rows."""
    if not table.rows:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in table.columns)
    if table.drawings:
        head += "<th></th>"
    body = "".join(
        "<tr>" + "".join(map(_cell, row)) + (f"<td>{table.drawings[i]}</td>" if table.drawings else "") + "</tr>"
        for i, row in enumerate(table.rows)
    )
    thead = f"<thead><tr>{head}</tr></thead>" if any(table.columns) else ""
    caption = "" if table.is_folded else f"<caption>{escape(table.title)}</caption>"
    drawn = f'<div class="zs-scroll"><table>{caption}{thead}<tbody>{body}</tbody></table></div>'
    if table.is_folded:
        return f"<details><summary>{escape(table.title)} ({len(table.rows)})</summary>{drawn}</details>"
    return drawn


def _cell(text: str) -> str:
    return f'<td class="zs-short">{escape(text)}</td>' if len(text) <= _SHORT else f"<td>{escape(text)}</td>"


def document_of(title: str, body: str) -> str:
    """A whole HTML document around elements that may use the classes of `STYLE`."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{STYLE}body{{margin:0;background:#fff}}"
        "@media(prefers-color-scheme:dark){body{background:#1e1e1e}}</style></head>"
        f'<body><main class="zarrds">{body}</main></body></html>\n'
    )
