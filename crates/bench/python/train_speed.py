"""Training steps of the two networks in PyTorch on the processor; prints one JSON line: images, wall, cpu.

    python train_speed.py --net small|starter --threads 2 --steps 5 --warm-up 2 [--frozen 6] [--format nchw|nhwc]

Layers, padding, normalisation, frozen blocks, loss, optimiser and running average are those of the recipes
`scratch` and `starter`; inputs are given, so that no side reads or augments pictures. Without --format the faster
memory layout of the two is taken, found by a step of each.
"""

import argparse
import copy
import json
import time

import torch
import torch.nn.functional as F
from torch import nn

CLASSES, EACH, DIM = 32, 4, 128
BATCH = CLASSES * EACH


class Small(nn.Module):
    """crates/neural/src/backbones/small.rs"""

    side, features = 64, 256

    class Block(nn.Module):
        def __init__(self, channels, filters, stride):
            super().__init__()
            self.first = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
            self.norm1 = nn.BatchNorm2d(filters)
            self.second = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
            self.norm2 = nn.BatchNorm2d(filters)
            self.skip = None
            if stride != 1 or channels != filters:
                self.skip = nn.Sequential(
                    nn.Conv2d(channels, filters, 1, stride, 0, bias=False), nn.BatchNorm2d(filters)
                )

        def forward(self, x):
            skip = x if self.skip is None else self.skip(x)
            x = F.relu(self.norm1(self.first(x)), inplace=True)
            return F.relu(self.norm2(self.second(x)) + skip, inplace=True)

    def __init__(self, frozen):
        super().__init__()
        self.frozen = frozen
        stem = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True))
        blocks, channels = [stem], 32
        for stage, filters in enumerate([32, 64, 128, 256]):
            blocks.append(self.Block(channels, filters, 1 if stage == 0 else 2))
            channels = filters
        self.blocks = nn.ModuleList(blocks)


class Lite0(nn.Module):
    """crates/neural/src/backbones/lite0.rs; fixed scales are kept beside the weights they multiply."""

    side, features = 128, 1280
    stages = [
        (1, 3, 1, 1, 16),
        (2, 3, 2, 6, 24),
        (2, 5, 2, 6, 40),
        (3, 3, 2, 6, 80),
        (3, 5, 1, 6, 112),
        (4, 5, 2, 6, 192),
        (1, 3, 1, 6, 320),
    ]

    class Layer(nn.Module):
        def __init__(self, channels, filters, kernel, stride, groups, active, fold):
            super().__init__()
            self.weight = nn.Parameter(torch.empty(filters, channels // groups, kernel, kernel))
            nn.init.kaiming_normal_(self.weight, mode="fan_in")
            self.bias = nn.Parameter(torch.zeros(filters))
            self.register_buffer("scale", torch.ones(filters, 1, 1, 1))
            self.kernel, self.stride, self.groups, self.active, self.fold = kernel, stride, groups, active, fold

        def forward(self, x):
            padding = self.kernel // 2
            if self.stride > 1:
                # SAME: the odd zero after the picture.
                size = x.shape[2]
                total = max((-(-size // self.stride) - 1) * self.stride + self.kernel - size, 0)
                x = F.pad(x, (total // 2, total - total // 2) * 2)
                padding = 0
            weight = self.weight if self.fold else self.weight * self.scale
            x = F.conv2d(x, weight, self.bias, self.stride, padding, 1, self.groups)
            return F.relu6(x, inplace=True) if self.active else x

    class Block(nn.Module):
        def __init__(self, layers, skip):
            super().__init__()
            self.layers, self.skip = nn.Sequential(*layers), skip

        def forward(self, x):
            return self.layers(x) + x if self.skip else self.layers(x)

    def __init__(self, frozen):
        super().__init__()
        self.frozen = frozen
        fold = lambda: len(self.blocks) < frozen
        self.blocks = nn.ModuleList()
        self.blocks.append(self.Layer(3, 32, 3, 2, 1, True, fold()))
        channels = 32
        for repeats, kernel, first_stride, expansion, filters in self.stages:
            for repeat in range(repeats):
                stride, wide = first_stride if repeat == 0 else 1, channels * expansion
                layers = [self.Layer(channels, wide, 1, 1, 1, True, fold())] if expansion > 1 else []
                layers.append(self.Layer(wide, wide, kernel, stride, wide, True, fold()))
                layers.append(self.Layer(wide, filters, 1, 1, 1, False, fold()))
                self.blocks.append(self.Block(layers, stride == 1 and channels == filters))
                channels = filters
        self.blocks.append(self.Layer(channels, 1280, 1, 1, 1, True, fold()))


def loss(embeddings, labels, beta):
    """Margin loss with distance-weighted negatives, Wu et al. 2017: as many negatives as positives."""
    distance = ((2 - 2 * embeddings @ embeddings.T).clamp_min(0) + 1e-8).sqrt()
    alike = labels[:, None] == labels[None, :]
    unlike = ~alike
    alike = alike & ~torch.eye(len(labels), dtype=torch.bool)
    with torch.no_grad():
        d = distance.clamp_min(0.5)
        log = -((DIM - 2) * d.log() + (DIM - 3) / 2 * (1 - d * d / 4).clamp_min(1e-8).log())
        log = log.masked_fill(~unlike | (distance >= 1.4), -torch.inf)
        most = log.max(1, keepdim=True).values
        weights = torch.where(most.isfinite(), (log - most).exp(), unlike.float())
        drawn = torch.multinomial(weights + 1e-12 * unlike, EACH - 1)
        negatives = torch.zeros_like(unlike).scatter_(1, drawn, True)
    boundary = beta[labels][:, None]
    pull = F.relu(distance - boundary + 0.2) * alike
    push = F.relu(boundary - distance + 0.2) * negatives
    active = (pull > 0).sum() + (push > 0).sum()
    return (pull + push).sum() / active.clamp_min(1)


class Trainer:
    def __init__(self, net, layout):
        torch.manual_seed(1)
        self.net = net.to(memory_format=layout)
        for block in self.net.blocks[: net.frozen]:
            block.requires_grad_(False)
        self.head = nn.Linear(net.features, DIM)
        self.beta = nn.Parameter(torch.full((936,), 1.2))
        backbone = [p for p in self.net.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in backbone if p.ndim > 1], "lr": 3e-4, "weight_decay": 1e-4},
            {"params": [p for p in backbone if p.ndim == 1], "lr": 3e-4},
            {"params": [self.head.weight], "weight_decay": 1e-4},
            {"params": [self.head.bias, self.beta]},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=1e-3, weight_decay=0.0)
        self.parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        self.average = copy.deepcopy([p.data for p in self.parameters])
        inputs = torch.rand(BATCH, 3, net.side, net.side) * 2 - 1
        self.inputs = inputs.contiguous(memory_format=layout)

    def step(self):
        labels = torch.randperm(len(self.beta))[:CLASSES].repeat_interleave(EACH)
        with torch.no_grad():
            x = self.inputs
            for block in self.net.blocks[: self.net.frozen]:
                x = block(x)
        for block in self.net.blocks[self.net.frozen :]:
            x = block(x)
        embeddings = F.normalize(self.head(x.mean((2, 3))))
        value = loss(embeddings, labels, self.beta)
        self.optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(self.parameters, 5.0)
        self.optimiser.step()
        torch._foreach_lerp_(self.average, [p.data for p in self.parameters], 0.02)

    def timed(self, steps):
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(steps):
            self.step()
        return {
            "images": steps * BATCH,
            "wall": time.perf_counter() - wall,
            "cpu": time.process_time() - cpu,
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", choices=["small", "starter"], default="small")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--frozen", type=int, default=0, help="first blocks that are not trained")
    parser.add_argument("--format", choices=["nchw", "nhwc"])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    net = {"small": Small, "starter": Lite0}[args.net]
    layouts = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
    names = [args.format] if args.format else list(layouts)
    trainers = {name: Trainer(net(args.frozen), layouts[name]) for name in names}
    for trainer in trainers.values():
        for _ in range(args.warm_up):
            trainer.step()
    if len(names) > 1:
        names.sort(key=lambda name: trainers[name].timed(1)["cpu"])
    print(json.dumps({"format": names[0], "torch": torch.__version__} | trainers[names[0]].timed(args.steps)))


if __name__ == "__main__":
    main()
