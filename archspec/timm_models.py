"""A plan goes in; a network that behaves as a model of timm comes out.

Its parameters have the names of archspec's checkpoints, so one checkpoint serves `archspec.compile` and timm.

B images, N positions with class tokens, C channels, H x W positions.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers.format import Format
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from archspec import ir
from archspec.compiler import planned_at
from archspec.features.backbone import feature_rows, intermediate_maps, keep_parts, parts
from archspec.features.maps import feature_maps, taken
from archspec.kernels import steps
from archspec.lower import Plan
from archspec.module import Layer, Network, fill, load_kernel
from archspec.schema import network as schema
from archspec.timm_options import POOLS, adapted


class TimmNetwork(Network):
    """A compiled network with the methods and attributes that timm's models have.

    `forward_features` gives what is pooled: (B, H, W, C) (`output_fmt` NHWC), or (B, N, C) with class tokens.
    Where a network classifies in the steps of its head (VOLO), the whole head is the classifier.
    """

    def __init__(
        self,
        plan: Plan,
        device: torch.device | None,
        plan_at: Callable[[int, int], Plan] | None,
        *,
        written: schema.Network,
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__(plan, device, plan_at)
        self.written = written
        self.num_classes = written.classes
        self.in_chans = plan.program.image.channels
        self.drop_rate = drop_rate
        self.global_pool = POOLS.get(written.head.pool)
        self.grad_checkpointing = False
        self.pruned = False
        self.maps = feature_maps(plan.program)
        self.feature_info: list[dict[str, Any]] = feature_rows(self.maps)
        before_pool = features_of(plan.program)
        self.num_features = self.head_hidden_size = before_pool.channels
        self.output_fmt = "NLC" if before_pool.class_tokens else "NHWC"

    @property
    def classifies_in_steps(self) -> bool:
        return not self.written.head.classifier and not self.pruned

    def run_at(self, height: int, width: int) -> None:
        super().run_at(height, width)
        self.maps = feature_maps(self.served[height, width][0])

    def forward(self, image: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(image))

    def forward_features(self, image: Tensor) -> Tensor:
        x: Any = self.as_map(image)
        for _, part in parts(self):
            x = self._run(part, x)
        return self._before_pool(x)

    def _before_pool(self, x: Any) -> Tensor:
        head = dict(getattr(self, "head", nn.Module()).named_children())
        if not self.classifies_in_steps:
            for name in ("steps", "norm"):
                x = head[name](x) if name in head else x
        return self._as_told(x)

    def _as_told(self, x: Tensor) -> Tensor:
        """(B, H, W, C) in the layout that `output_fmt` says."""
        return x.squeeze(1) if self.output_fmt == "NLC" else x

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, H, W, C) or (B, N, C) -> (B, classes), or (B, C) before the classifier.

        Without pooling (`global_pool=""`) every position is classified: (B, H, W, classes) or (B, N, classes).
        """
        y = x.unsqueeze(1) if x.ndim == 3 else x
        classifier = self.get_classifier()
        if self.classifies_in_steps and not pre_logits and self.num_classes:
            return classifier(y).flatten(1)  # type: ignore[no-any-return]
        pooled = self._pooled(y)
        if pre_logits:
            return pooled
        if self.global_pool == "":
            return self._as_told(classifier(F.dropout(y, self.drop_rate, self.training)))
        pooled = F.dropout(pooled, self.drop_rate, self.training)
        return classifier(pooled[:, None, None]).flatten(1)  # type: ignore[no-any-return]

    def _pooled(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, C), and unchanged when pooling is off."""
        if self.global_pool == "":
            return self._as_told(x)
        tokens = features_of(self.program).class_tokens
        kind = {ours: name for name, ours in POOLS.items()}.get(self.global_pool or "")
        if kind is None:
            kind = "class_token" if tokens else "mean"
        channels = x.shape[-1]
        source = ir.Feature(x.shape[1], x.shape[2] - tokens, channels, tokens)
        return steps.pool(ir.Pool("", source, ir.Feature(1, 1, channels), kind), {}, x, self.training).flatten(1)

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | tuple[int, ...] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """The stage maps at these indices, (B, C, H, W), and what `forward_features` gives unless only they are wanted.

        With `stop_early` nothing runs after the last of them; in place of `forward_features` is then what that part
        gives, without the norm of the head.

        Raises:
            ValueError: another layout than NCHW, or the norm of the head, which belongs to its last map only.
        """
        if Format(output_fmt) is not Format.NCHW or norm:
            raise ValueError("forward_intermediates gives NCHW maps without the norm of the head")
        wanted = taken(self.maps, tuple(indices) if isinstance(indices, list) else indices)
        end = [path for path, _ in parts(self)][-1]
        until = self.maps[max(wanted)].after if stop_early else end
        last: list[Any] = []

        def run(part: nn.Module, given: Any) -> Any:
            last[:] = [self._run(part, given)]
            return last[0]

        found = intermediate_maps(self, self.as_map(x), run, until)
        chosen = [found[index] for index in wanted]
        if intermediates_only:
            return chosen
        return self._before_pool(last[0]) if until == end else self._as_told(last[0]), chosen

    def prune_intermediate_layers(
        self, indices: int | list[int] | tuple[int, ...] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Delete what runs after the maps at these indices, and the head; gives the indices, counted from the front.

        Without the norm of the head too, a new classifier (`reset_classifier`) is one matrix on the last map.
        """
        wanted = taken(self.maps, tuple(indices) if isinstance(indices, list) else indices)
        keep_parts(self, [self.maps[index].after for index in wanted])
        if prune_norm and prune_head:
            self.head, self.pruned = nn.Module(), True
            self.num_classes = 0
            self.num_features = self.head_hidden_size = self.maps[max(wanted)].shape.channels
        elif prune_head:
            self.reset_classifier(0)
        return list(wanted)

    def get_classifier(self) -> nn.Module:
        if self.classifies_in_steps:
            return self.head
        classifier: nn.Module = getattr(self.head, "classifier", nn.Identity())
        return classifier

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """A new classifier (0: none), on the device and in the type of the network; `global_pool` None keeps pooling.

        Raises:
            ValueError: a way to pool that timm has no name for here.
            SpecError: the network cannot have so many classes, or no class token to pool by.
        """
        written = adapted(self.written, num_classes, global_pool=global_pool)
        plan = planned_at(written, *self.size)
        like = next(self.parameters())
        self.written, self.num_classes = written, num_classes
        self.global_pool = self.global_pool if global_pool is None else global_pool
        if self.pruned:
            own = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
            self.head.classifier = own.to(like).train(self.training)
            return
        self.plan_at = partial(planned_at, written)
        self.program, self.served = plan.program, {self.size: (plan.program, plan.kernels())}
        fresh = _head(plan, like, self.training) if num_classes else nn.Identity()
        if self.classifies_in_steps:
            self.head = fresh
        else:
            self.head.classifier = fresh.classifier if num_classes else fresh

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Keep only what goes into each block, and run the block again in the backward pass."""
        self.grad_checkpointing = enable

    def _run(self, part: nn.Module, x: Any) -> Any:
        if self.grad_checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint(part, x, use_reentrant=False)
        return part(x)

    def no_weight_decay(self) -> set[str]:
        """Tables of position: relative biases, position embeddings and class tokens."""
        tables = {
            f"{op.path}.weight"
            for op in ir.walk(self.program.ops)
            if isinstance(op, ir.PositionEmbedding | ir.ClassToken)
        }
        names = set(dict(self.named_parameters()))
        return {name for name in names if name in tables or name.endswith(".relative_bias")}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Layer groups for a learning rate that falls with depth."""
        stages: list[Any] = [(r"^stages\.(\d+)\.downsample", (-1,)), (r"^stages\.(\d+)\.blocks\.(\d+)", None)]
        blocks: Any = r"^stages\.(\d+)" if coarse else [*stages, (r"^head\.(?:norm|steps)", (99999,))]
        return {"stem": r"^stem", "blocks": blocks}


def features_of(program: ir.Program) -> ir.Feature:
    """The map that is pooled: what the last op before the pool or the classifier takes."""
    ended = ("head.pool", "head.classifier")
    last = next((op for op in program.ops if op.path.startswith(ended)), None)
    if last is None:
        last = next(op for op in program.ops if op.path.startswith("head."))
    assert isinstance(last.source, ir.Feature)
    return last.source


def _head(plan: Plan, like: Tensor, training: bool) -> nn.Module:
    """The head of a network that is newly initialised."""
    device = like.device
    kernels = plan.kernels()
    whole = Network(plan, torch.device("meta"))
    head: nn.Module = whole.get_submodule("head")
    head.to_empty(device=device)
    rows = {op.path: op for op in ir.walk(plan.program.ops)}
    for layer in head.modules():
        if isinstance(layer, Layer) and layer.op.path in rows:
            for row in layer.op.parameters:
                with torch.no_grad():
                    fill(layer.state_dict(keep_vars=True)[row.name], row.init, None)
            if layer.op.path in kernels:
                layer.kernel = load_kernel(kernels[layer.op.path])
    return head.to(like.dtype).train(training)
