"""Evaluations go in, figures come out: each is `x_data(records) -> XData`, then `draw_x(XData) -> Figure`.

Only the `draw_` functions import plotly, when they are called.
"""

from archspec.results.plots.costs import CostsData, costs_data, draw_costs
from archspec.results.plots.curves import Curve, CurvesData, curves_data, draw_curves
from archspec.results.plots.history import HistoryData, draw_history, history_data
from archspec.results.plots.pareto import ParetoData, ParetoPoint, draw_pareto, pareto_data
from archspec.results.plots.shares import draw_importance, importance_data

__all__ = [
    "CostsData",
    "Curve",
    "CurvesData",
    "HistoryData",
    "ParetoData",
    "ParetoPoint",
    "costs_data",
    "curves_data",
    "draw_costs",
    "draw_curves",
    "draw_history",
    "draw_importance",
    "draw_pareto",
    "history_data",
    "importance_data",
    "pareto_data",
]
