"""WHICH POINTS THERE ARE: a search-space file goes in; its genes, points, networks, counts and shares come out.

    space.yaml -> source (bases merged) -> holes -> layout (genes, sites) -> model (assignments) -> networks (points)

Without torch and optuna.
"""

from archspec.search.space.constraints import Constraint as Constraint
from archspec.search.space.feasibility import Feasibility as Feasibility
from archspec.search.space.feasibility import Nearest as Nearest
from archspec.search.space.feasibility import feasible_share as feasible_share
from archspec.search.space.feasibility import nearest_to_feasible as nearest_to_feasible
from archspec.search.space.genes import Gene as Gene
from archspec.search.space.load import load_space as load_space
from archspec.search.space.membership import find as find
from archspec.search.space.membership import named_points as named_points
from archspec.search.space.model import Assignment as Assignment
from archspec.search.space.model import SearchSpace as SearchSpace
from archspec.search.space.model import active as active
from archspec.search.space.model import canonical as canonical
from archspec.search.space.model import count as count
from archspec.search.space.model import neighbours as neighbours
from archspec.search.space.model import points as points
from archspec.search.space.model import sample as sample
from archspec.search.space.networks import Point as Point
from archspec.search.space.networks import network as network
from archspec.search.space.networks import point as point
from archspec.search.space.networks import yaml as yaml
