"""Sphinx's configuration of the documentation site; `make site` builds it."""

project = "rerank-gateway"
html_title = "rerank-gateway"
extensions = ["myst_parser"]
html_theme = "furo"
# Pages link to headings by the anchors that GitHub gives them.
myst_heading_anchors = 4
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
# Diagrams of the architecture page and other blocks without a language are text.
highlight_language = "none"
