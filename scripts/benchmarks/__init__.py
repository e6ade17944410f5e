"""What `python -m scripts.benchmark` measures, one module per benchmark: its settings, its measurement and its table.

Each module has a frozen dataclass of settings with

- `measure(out, tell)`: do the work and return every number as JSON values. Files go into the folder `out`; `tell` is
  given a line of text now and then;
- `table(measured)`: those values as Markdown.
"""
