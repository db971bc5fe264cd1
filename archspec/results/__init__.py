"""What a study learned: rows in a database go in, figures and one HTML report come out.

- `records.py`: frozen records, no database
- `engine.py`: a URL -> an engine that several processes can write through
- `tables.py`: the tables, prefixed archspec_; `rows.py`: rows <-> records
- `store.py`: what a study runner writes and a report reads
- `importance.py`: which gene and which axis mattered, a statistic over plain records
- `plots/`: one file a figure, `x_data(records) -> XData` and `draw_x(XData) -> plotly figure`
- `report.py`: everything above -> one self-contained HTML file
"""
