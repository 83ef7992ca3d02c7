# SPDX-License-Identifier: Apache-2.0
"""The model as fast as PyTorch makes it: what is attended to is never fed back into the recurrence, so one GRU gives
all states of a policy and one product all its evaluations. Shapes depend on nothing that the host would have to wait
for, so that a step can be captured as a CUDA graph; what lies between the GRUs can be compiled.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from parts import Matching, Noise, Policy, Sizes, l2norm


class GraphConvolution(nn.Module):
    """VSRN's Rs_GCN, of linear layers over (B,N,D)."""

    def __init__(self, width: int, fewer_products: bool) -> None:
        super().__init__()
        self.g, self.theta, self.phi = (nn.Linear(width, width) for _ in range(3))
        self.W = nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width))
        nn.init.zeros_(self.W[1].weight)
        self.relate = self.relate_in_fewer if fewer_products else self.relate_as_written

    def relate_as_written(self, v: Tensor) -> Tensor:
        relation = self.theta(v) @ self.phi(v).transpose(1, 2) / v.shape[1]
        return self.W[0](relation @ self.g(v))

    def relate_in_fewer(self, v: Tensor) -> Tensor:
        """The same with two products of all regions, not four (models/modules/region_gcn.c says how)."""
        last = self.W[0]
        turned = torch.cat((self.phi.weight.t(), self.phi.bias[None]))
        weight = torch.cat((last.weight @ self.g.weight, turned @ self.theta.weight))
        bias = torch.cat((last.weight @ self.g.bias, turned @ self.theta.bias))
        g, theta, shift = F.linear(v, weight, bias).split((v.shape[2], v.shape[2], 1), dim=2)
        return ((theta @ v.transpose(1, 2) + shift) / v.shape[1]) @ g + last.bias

    def forward(self, v: Tensor) -> Tensor:
        return v + self.W[1](self.relate(v).flatten(0, 1)).reshape(v.shape)


class Encoder(nn.Module):
    def __init__(self, width: int, s: Sizes) -> None:
        super().__init__()
        self.sizes = s
        self.rl_rnn = nn.GRU(width, width, batch_first=True)
        self.linear_rl_image_mus = nn.Linear(2 * width, s.heads * s.actions)
        self.linear_logvars = nn.Linear(2 * width, s.heads)
        # in which precision a GRU runs: of the arithmetics that cuDNN has for it, the fastest
        self.gru_context: Callable[[], AbstractContextManager] = nullcontext

    def run_gru(self, gru: nn.GRU, x: Tensor) -> Tensor:
        with self.gru_context():
            return gru(x)[0]

    def draw(self, x: Tensor, h: Tensor, noise: Noise) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities (B,S,H) of what is drawn at all steps, and x attended to."""
        s, shape = self.sizes, (*x.shape[:2], self.sizes.heads)
        u = torch.cat([x, h.to(x.dtype)], -1).relu()
        logits = self.linear_rl_image_mus(u).reshape(*shape, s.actions).to(x.dtype)
        uniform = noise("gumbel_u", logits, (*shape, s.actions), None)
        log_y = ((logits - torch.log(-torch.log(uniform + 1e-20) + 1e-20)) / 0.8).log_softmax(-1)
        y = log_y.exp()
        numbers = torch.arange(s.actions, device=x.device, dtype=y.dtype) / s.actions
        with torch.no_grad():
            v = noise("index_v", logits, shape, None)[..., None]
            k = (y.cumsum(-1) <= v).sum(-1, keepdim=True).clamp(max=s.actions - 1)
        discrete = log_y.gather(-1, k).squeeze(-1)
        through = (numbers * y).sum(-1)  # straight through: its gradient, the choice's value
        mu = k.squeeze(-1).to(y.dtype) / s.actions + through - through.detach()
        rho = F.softplus(self.linear_logvars(u).to(x.dtype))
        with torch.no_grad():
            sigma = (rho / 2).exp()
            z = mu + sigma * noise("z1", logits, shape, None)
            scored = mu + sigma * noise("z2", logits, shape, None) if s.released else z
        continuous = -0.5 * ((scored - mu) ** 2 * (-rho).exp() + rho) - 0.9189385332046727  # log sqrt(2 pi)
        return discrete, continuous, self.weighted(x, 20 * torch.sigmoid(z))

    def best(self, x: Tensor, h: Tensor) -> Tensor:
        u = torch.cat([x, h.to(x.dtype)], -1).relu()
        logits = self.linear_rl_image_mus(u).reshape(*x.shape[:2], self.sizes.heads, self.sizes.actions)
        return self.weighted(x, 20 * torch.sigmoid(logits.argmax(-1).to(x.dtype) / self.sizes.actions))

    def weighted(self, x: Tensor, weight: Tensor) -> Tensor:
        return (x.reshape(*weight.shape, -1) * weight[..., None]).reshape(x.shape)

    def attend(self, x: Tensor, noise: Noise, valid: Tensor | None, steps: Tensor | int
               ) -> tuple[Tensor, Policy | None]:
        h = self.run_gru(self.rl_rnn, x)
        if not self.training:
            return self.best(x, h), None
        discrete, continuous, attended = self.draw(x, h, noise)
        return attended, Policy(discrete, continuous, valid, steps)


class ImageEncoder(Encoder):
    def __init__(self, s: Sizes) -> None:
        super().__init__(s.width, s)
        self.fc = nn.Linear(s.features, s.width)
        self.Rs_GCN_1, self.Rs_GCN_2, self.Rs_GCN_3, self.Rs_GCN_4 = (
            GraphConvolution(s.width, s.fewer_products) for _ in range(4))
        self.img_rnn = nn.GRU(s.width, s.width, batch_first=True)
        self.bn = nn.BatchNorm1d(s.width, momentum=0.01)

    def regions(self, images: Tensor) -> Tensor:
        v = self.fc(images)
        if self.sizes.first_norm:
            v = l2norm(v, self.sizes.released)
        for gcn in (self.Rs_GCN_1, self.Rs_GCN_2, self.Rs_GCN_3, self.Rs_GCN_4):
            v = gcn(v)
        return l2norm(v.to(images.dtype), self.sizes.released)

    def forward(self, images: Tensor, noise: Noise) -> tuple[Tensor, Policy | None]:
        v = self.regions(images)
        v, policy = self.attend(v, noise, None, v.shape[0] * v.shape[1])
        return self.bn(v.mean(1) + self.run_gru(self.img_rnn, v)[:, -1]), policy


class TextEncoder(Encoder):
    def __init__(self, s: Sizes) -> None:
        super().__init__(s.words, s)
        self.rnn = nn.GRU(s.words, s.width, batch_first=True)
        self.bn = nn.BatchNorm1d(s.width, momentum=0.01)

    def forward(self, vectors: Tensor, lengths: Tensor, noise: Noise) -> tuple[Tensor, Policy | None]:
        """A GRU runs forward, so that what lies behind a caption changes nothing at its last word."""
        valid, steps = None, vectors.shape[0] * vectors.shape[1]
        if not self.sizes.released:
            valid = torch.arange(vectors.shape[1], device=vectors.device) < lengths[:, None]
            valid, steps = valid[..., None].to(vectors.dtype), lengths.sum()
        x, policy = self.attend(vectors, noise, valid, steps)
        states = self.run_gru(self.rnn, x)
        last = (lengths - 1)[:, None, None].expand(-1, 1, states.shape[2])
        return self.bn(states.gather(1, last)[:, 0].to(vectors.dtype)), policy


class Model(Matching):
    def __init__(self, s: Sizes) -> None:
        super().__init__(s, ImageEncoder(s), TextEncoder(s), batched=True)

    def compile_parts(self, mode: str) -> None:
        """All but the GRUs, which are cuDNN's: each part as one graph, compiled when first run with its shapes."""
        for module, name in ((self.img_enc, "regions"), (self.img_enc, "draw"), (self.txt_enc, "draw"),
                             (self.heads, "forward")):
            setattr(module, name, torch.compile(getattr(module, name), dynamic=False, fullgraph=True, mode=mode))

    def use_gru_context(self, context: Callable[[], AbstractContextManager]) -> None:
        self.img_enc.gru_context = self.txt_enc.gru_context = context
