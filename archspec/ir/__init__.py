"""What a network means: frozen ops with resolved shapes go in; their parameter tables and stable text come out.

A program is a list of ops from an image to logits. Shapes are resolved and defaults filled in, so every question about
a network (its meaning, cost, kernels, checkpoints) is answered from here alone, without torch.

    feature (shapes, rows) -> axes (spaces, weights) -> connect (the layer) -> ops (the others) -> streams (branches)
    -> program (all of them)
"""

from archspec.ir.axes import Attention as Attention
from archspec.ir.axes import Cross as Cross
from archspec.ir.axes import Full as Full
from archspec.ir.axes import Outlook as Outlook
from archspec.ir.axes import Point as Point
from archspec.ir.axes import PreConvolution as PreConvolution
from archspec.ir.axes import Predicted as Predicted
from archspec.ir.axes import Reduced as Reduced
from archspec.ir.axes import Sliding as Sliding
from archspec.ir.axes import Space as Space
from archspec.ir.axes import Static as Static
from archspec.ir.axes import Weights as Weights
from archspec.ir.axes import Window as Window
from archspec.ir.connect import Connect as Connect
from archspec.ir.connect import Op as Op
from archspec.ir.connect import batch_norm_rows as batch_norm_rows
from archspec.ir.feature import NORMAL as NORMAL
from archspec.ir.feature import ONES as ONES
from archspec.ir.feature import ZEROS as ZEROS
from archspec.ir.feature import Feature as Feature
from archspec.ir.feature import Init as Init
from archspec.ir.feature import Pair as Pair
from archspec.ir.feature import Parameter as Parameter
from archspec.ir.ops import Activation as Activation
from archspec.ir.ops import ClassToken as ClassToken
from archspec.ir.ops import DropPath as DropPath
from archspec.ir.ops import Gather as Gather
from archspec.ir.ops import MapOnly as MapOnly
from archspec.ir.ops import Multiply as Multiply
from archspec.ir.ops import Norm as Norm
from archspec.ir.ops import Pool as Pool
from archspec.ir.ops import PositionEmbedding as PositionEmbedding
from archspec.ir.ops import Residual as Residual
from archspec.ir.ops import Resize as Resize
from archspec.ir.ops import Scale as Scale
from archspec.ir.ops import Shuffle as Shuffle
from archspec.ir.ops import SlidingPool as SlidingPool
from archspec.ir.program import Program as Program
from archspec.ir.program import inside as inside
from archspec.ir.program import parameter_table as parameter_table
from archspec.ir.program import walk as walk
from archspec.ir.streams import Branch as Branch
from archspec.ir.streams import Branches as Branches
from archspec.ir.streams import Channels as Channels
from archspec.ir.streams import Everything as Everything
from archspec.ir.streams import Feed as Feed
from archspec.ir.streams import Shape as Shape
from archspec.ir.streams import Stream as Stream
from archspec.ir.streams import Streams as Streams
from archspec.ir.streams import fed as fed
