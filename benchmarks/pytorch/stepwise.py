# SPDX-License-Identifier: Apache-2.0
"""The model structured as the released code is: a policy is evaluated step by step, over all padded words.

Per region or word: a GRU cell, two linear layers, Gumbel noise, a softmax, a draw, two normal samples.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Normal
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence

from parts import Matching, Noise, Policy, Sizes, l2norm

Distribution.set_default_validate_args(False)  # as when that code was written: the checks would wait at each step


class GraphConvolution(nn.Module):
    """VSRN's Rs_GCN, of 1x1 convolutions over (B,D,N)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.g, self.theta, self.phi = (nn.Conv1d(width, width, 1) for _ in range(3))
        self.W = nn.Sequential(nn.Conv1d(width, width, 1), nn.BatchNorm1d(width))
        nn.init.zeros_(self.W[1].weight)

    def forward(self, v: Tensor) -> Tensor:
        relation = self.theta(v).transpose(1, 2) @ self.phi(v) / v.shape[2]
        y = (relation @ self.g(v).transpose(1, 2)).transpose(1, 2).contiguous()
        return v + self.W(y)


class Encoder(nn.Module):
    """What attends: h_s = GRUCell(x_s), and a policy from [x_s ; h_s] (docs/model.md, "Policy attention")."""

    def __init__(self, width: int, s: Sizes) -> None:
        super().__init__()
        self.sizes = s
        self.rl_rnn = nn.GRUCell(width, width)
        self.linear_rl_image_mus = nn.Linear(2 * width, s.heads * s.actions)
        self.linear_logvars = nn.Linear(2 * width, s.heads)

    def draw(self, u: Tensor, noise: Noise, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities (B,H) of what is drawn, and the weights (B,H)."""
        s, shape = self.sizes, (len(u), self.sizes.heads)
        logits = self.linear_rl_image_mus(u).view(*shape, s.actions)
        uniform = noise("gumbel_u", u, (*shape, s.actions), step)
        y = ((logits - torch.log(-torch.log(uniform + 1e-20) + 1e-20)) / 0.8).softmax(-1)
        choices = Categorical(y)
        if noise.recorded is None:
            k = choices.sample()
        else:
            k = (y.cumsum(-1) <= noise("index_v", u, shape, step)[..., None]).sum(-1).clamp(max=s.actions - 1)
        onehot = F.one_hot(k, s.actions).to(y.dtype) - y.detach() + y
        mu = (onehot * torch.arange(s.actions, device=u.device, dtype=y.dtype) / s.actions).sum(-1)
        sigma = (F.softplus(self.linear_logvars(u)) / 2).exp()
        with torch.no_grad():
            z = mu + sigma * noise("z1", u, shape, step)
            scored = mu + sigma * noise("z2", u, shape, step) if s.released else z
        return choices.log_prob(k), Normal(mu, sigma).log_prob(scored), 20 * torch.sigmoid(z)

    def best(self, u: Tensor) -> Tensor:
        """Evaluation: the weights (B,H) of the likeliest action."""
        logits = self.linear_rl_image_mus(u).view(len(u), self.sizes.heads, self.sizes.actions)
        return 20 * torch.sigmoid(logits.argmax(-1).to(u.dtype) / self.sizes.actions)

    def attend(self, x: Tensor, noise: Noise, valid: Tensor | None, steps: Tensor | int
               ) -> tuple[Tensor, Policy | None]:
        h, attended, discrete, continuous = torch.zeros_like(x[:, 0]), [], [], []
        for step in range(x.shape[1]):
            x_s = x[:, step]
            h = self.rl_rnn(x_s, h)
            u = torch.cat([x_s, h], 1).relu()
            if self.training:
                log_d, log_c, weight = self.draw(u, noise, step)
                discrete.append(log_d)
                continuous.append(log_c)
            else:
                weight = self.best(u)
            attended.append((x_s.view(len(x), self.sizes.heads, -1) * weight[..., None]).view_as(x_s))
        policy = Policy(torch.stack(discrete, 1), torch.stack(continuous, 1), valid, steps) if self.training else None
        return torch.stack(attended, 1), policy


class ImageEncoder(Encoder):
    def __init__(self, s: Sizes) -> None:
        super().__init__(s.width, s)
        self.fc = nn.Linear(s.features, s.width)
        self.Rs_GCN_1, self.Rs_GCN_2, self.Rs_GCN_3, self.Rs_GCN_4 = (GraphConvolution(s.width) for _ in range(4))
        self.img_rnn = nn.GRU(s.width, s.width, batch_first=True)
        self.bn = nn.BatchNorm1d(s.width, momentum=0.01)

    def forward(self, images: Tensor, noise: Noise) -> tuple[Tensor, Policy | None]:
        x = self.fc(images)
        if self.sizes.first_norm:
            x = l2norm(x, self.sizes.released)
        v = x.transpose(1, 2)
        for gcn in (self.Rs_GCN_1, self.Rs_GCN_2, self.Rs_GCN_3, self.Rs_GCN_4):
            v = gcn(v)
        v = l2norm(v.transpose(1, 2), self.sizes.released)
        v, policy = self.attend(v, noise, None, v.shape[0] * v.shape[1])
        return self.bn(v.mean(1) + self.img_rnn(v)[1][0]), policy


class TextEncoder(Encoder):
    def __init__(self, s: Sizes) -> None:
        super().__init__(s.words, s)
        self.rnn = nn.GRU(s.words, s.width, batch_first=True)
        self.bn = nn.BatchNorm1d(s.width, momentum=0.01)

    def forward(self, vectors: Tensor, lengths: Tensor, noise: Noise) -> tuple[Tensor, Policy | None]:
        valid, steps = None, vectors.shape[0] * vectors.shape[1]
        if not self.sizes.released:
            valid = torch.arange(vectors.shape[1], device=vectors.device) < lengths[:, None].to(vectors.device)
            valid, steps = valid[..., None].to(vectors.dtype), int(lengths.sum())
        x, policy = self.attend(vectors, noise, valid, steps)
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        return self.bn(self.rnn(packed)[1][0]), policy


class Model(Matching):
    def __init__(self, s: Sizes) -> None:
        super().__init__(s, ImageEncoder(s), TextEncoder(s), batched=False)
