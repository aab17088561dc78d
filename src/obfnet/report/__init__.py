"""Result pages for people: one self-contained HTML file each, made from a result's figures.

The modules are imported where they are used; Jinja2, which they need, comes with the extra `report`.
"""
