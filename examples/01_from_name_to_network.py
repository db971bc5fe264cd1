"""A name in, a trainable network out: its cost, its digest, one training step."""

import torch

import archspec

network = archspec.load("dw_conv_nano")
cost = archspec.cost(network)
print(f"{network.name}: {cost.params:,} parameters, {cost.macs:,} multiply-adds, {cost.activation_bytes:,} bytes kept")
print(f"digest {archspec.digest(network)[:16]}")

module = archspec.compile(network, seed=0)
images, labels = torch.randn(8, 3, 32, 32), torch.randint(20, (8,))
loss = torch.nn.functional.cross_entropy(module(images), labels)
loss.backward()
print(f"loss {loss.item():.3f}, gradient of every parameter: {all(p.grad is not None for p in module.parameters())}")
