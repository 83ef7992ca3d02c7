# SPDX-License-Identifier: Apache-2.0
"""What both PyTorch models of the published policy attention share: sizes, noise, captioner, losses.

Written from docs/model.md; parameters have the released code's names (docs/parity.md), so that its weights and our
recorded steps fit. `released` computes what the released code does, `[compat] preset = released` of ours, else what
the paper says, our default.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Terms = dict[str, Tensor]


@dataclass(frozen=True)
class Sizes:
    """docs/model.md; the defaults are those of configs/f30k_policy.ini."""

    features: int = 2048
    width: int = 2048  # of both embeddings
    words: int = 300  # of a word vector
    heads: int = 2
    actions: int = 500
    vocabulary: int = 8481
    classes: int = 29000
    hidden: int = 512  # of the classifier
    decoder_width: int = 512
    decoder_hidden: int = 256
    decoder_layers: int = 3
    decoder_kernel: int = 5
    dropout: float = 0.1
    first_norm: bool = False  # l2norm behind the first linear layer: COCO
    released: bool = False
    fewer_products: bool = False  # in batched.py: graph convolutions of layers that were multiplied with each other


@dataclass
class Batch:
    """Pair i is image i and caption i; captions are padded behind their lengths."""

    images: Tensor  # (B,N,F)
    vectors: Tensor  # (B,T,E) word vectors
    lengths: Tensor  # (B) i64
    classes: Tensor  # (B) i64
    labels: Tensor  # (B,M) i64: the captioner's tokens
    counts: Tensor  # (B,M): 1 where a label counts


@dataclass
class Policy:
    """Of one encoder: log-probabilities (B,S,H) of what was drawn, and which steps are a caption's (B,S,1), or all."""

    discrete: Tensor
    continuous: Tensor
    valid: Tensor | None
    steps: Tensor | int  # how many steps count


class Noise:
    """Random numbers of a policy: of one step, (B,H...), or of all, (B,S,H...). Recorded ones, `gumbel_u` (S,B*H,A),
    `index_v` (S,B*H), `z1` and `z2` (S,B,H), take the place of drawn ones in tests."""

    def __init__(self, recorded: dict[str, Tensor] | None = None) -> None:
        self.recorded = recorded

    def __call__(self, name: str, like: Tensor, shape: tuple[int, ...], step: int | None) -> Tensor:
        if self.recorded is None:
            return (torch.randn if name[0] == "z" else torch.rand)(shape, device=like.device, dtype=like.dtype)
        if step is not None:
            return self.recorded[name][step].reshape(shape)
        batch, steps, *rest = shape
        return self.recorded[name][:steps].reshape(steps, batch, *rest).transpose(0, 1)


def l2norm(x: Tensor, released: bool = False) -> Tensor:
    """Of vectors; the released code's divides a (B,N,D) tensor by norms over its N regions."""
    return x / x.square().sum(1, keepdim=True).sqrt() if released else F.normalize(x, dim=-1)


# ---- text decoder -----------------------------------------------------------------------------


class Normed(nn.Module):
    """A weight-normalised linear layer, or causal convolution over (B,T,C): weight = g v / |v|, |v| per output.
    `product`: the convolution as one matrix product of all windows."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dropout: float, product: bool = False) -> None:
        super().__init__()
        shape = (outputs, inputs, kernel) if kernel else (outputs, inputs)
        std = (4 * (1 - dropout) / (kernel * inputs) if kernel else (1 - dropout) / inputs) ** 0.5
        self.weight_v = nn.Parameter(torch.randn(shape) * std)
        self.weight_g = nn.Parameter(torch.norm_except_dim(self.weight_v.detach(), 2, 0))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.kernel, self.product = kernel, product

    def forward(self, x: Tensor) -> Tensor:
        weight = torch._weight_norm(self.weight_v, self.weight_g, 0)  # what torch.nn.utils.weight_norm calls
        if not self.kernel:
            return F.linear(x, weight, self.bias)
        if self.product:
            windows = F.pad(x, (0, 0, self.kernel - 1, 0)).unfold(1, self.kernel, 1)  # (B,T,C,kernel)
            return F.linear(windows.flatten(2), weight.flatten(1), self.bias)
        return F.conv1d(F.pad(x.transpose(1, 2), (self.kernel - 1, 0)), weight, self.bias).transpose(1, 2)


class Captioner(nn.Module):
    """Convolutional captioner (Aneja, Deshpande and Schwing, CVPR 2018)."""

    def __init__(self, s: Sizes, product: bool) -> None:
        super().__init__()
        width, kernel, p = s.decoder_width, s.decoder_kernel, s.dropout
        self.emb_1 = Normed(s.words, width, 0, p)
        self.imgproj = Normed(s.width, width, 0, p)
        self.resproj = Normed(2 * width, width, 0, p)
        self.convs = nn.ModuleList(Normed(2 * width if i == 0 else width, 2 * width, kernel, p, product)
                                   for i in range(s.decoder_layers))
        self.classifier_0 = Normed(width, s.decoder_hidden, 0, p)
        self.classifier_1 = Normed(s.decoder_hidden, s.vocabulary, 0, p)
        self.dropout = p

    def forward(self, vectors: Tensor, embedding: Tensor) -> Tensor:
        """(B,M,E) and (B,D) -> logits (B,M,V): of position t, for token t+1."""
        e = self.emb_1(vectors)
        x = torch.cat([e, F.relu(self.imgproj(embedding))[:, None].expand_as(e)], -1)
        residual = self.resproj(x)
        for conv in self.convs:
            y = F.glu(conv(self.dropped(x)), -1)
            x = residual = (y + residual) * 0.5**0.5
        return self.classifier_1(self.dropped(self.classifier_0(x)))

    def dropped(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


def fit(vectors: Tensor, tokens: int) -> Tensor:
    """(B,T,E) cut or padded with zeros to (B,tokens,E)."""
    return F.pad(vectors, (0, 0, 0, max(0, tokens - vectors.shape[1])))[:, :tokens]


# ---- losses -----------------------------------------------------------------------------------


def hardest(costs: Tensor, dim: int) -> Tensor:
    return costs.masked_fill(torch.eye(len(costs), dtype=torch.bool, device=costs.device), 0).amax(dim).sum()


def retrieval_loss(images: Tensor, captions: Tensor, released: bool, margin: float = 0.2) -> Tensor:
    """Hinge with the hardest negative: across the modalities both ways, and within each."""
    s = images @ captions.T
    right = s.diagonal()
    loss = hardest((margin + s - right[:, None]).clamp(min=0), 1)
    loss = loss + hardest((margin + s - right[None, :]).clamp(min=0), 0)
    for x in images, captions:
        s = x @ x.T
        loss = loss + hardest((margin + s - s.diagonal()[:, None]).clamp(min=0), 0 if released else 1)
    return loss


def advantages(images: Tensor, captions: Tensor) -> Tensor:
    """Reward of each pair less half the mean reward: 1/(rank+1) and R@1 + R@5 + R@10 as fractions, both ways."""
    with torch.no_grad():
        s = images @ captions.T
        right = s.diagonal()
        reward = torch.zeros_like(right)
        for ranks in (s > right[:, None]).sum(1), (s > right[None, :]).sum(0):
            reward = reward + 1 / (ranks + 1).to(s.dtype) + sum((ranks < k).to(s.dtype).mean() for k in (1, 5, 10))
        return reward - 0.5 * reward.mean()


def policy_loss(log_probability: Tensor, policy: Policy, advantage: Tensor) -> Tensor:
    """- mean over samples and steps of log probability times advantage, summed over heads."""
    weight = advantage[:, None, None] if policy.valid is None else advantage[:, None, None] * policy.valid
    return -(log_probability * weight).sum() / policy.steps


class Losses(nn.Module):
    """Classifier and captioner, and all losses of a pair of embeddings. `batched`: whatever spares time is done, and
    nothing that waits for the device, as picking out the labels that count does; else what the released code does."""

    def __init__(self, s: Sizes, batched: bool) -> None:
        super().__init__()
        self.sizes, self.batched = s, batched
        self.classifier1 = nn.Linear(s.width, s.hidden)
        self.classifier2 = nn.Linear(s.hidden, s.classes)
        self.caption_model = Captioner(s, batched)

    def instance(self, embedding: Tensor, classes: Tensor) -> Tensor:
        return F.cross_entropy(self.classifier2(F.relu(self.classifier1(embedding))), classes)

    def decoder(self, batch: Batch, embedding: Tensor) -> Tensor:
        labels, counts = batch.labels[:, 1:].reshape(-1), batch.counts[:, 1:].reshape(-1)
        logits = self.caption_model(fit(batch.vectors, batch.labels.shape[1]), embedding)[:, :-1]
        logits = logits.reshape(len(labels), -1)
        if self.batched:
            return F.cross_entropy(logits, labels.masked_fill(counts == 0, -100))
        rows = counts.nonzero()[:, 0]
        return F.cross_entropy(logits[rows], labels[rows])

    def forward(self, batch: Batch, image: Tensor, caption: Tensor, policies: tuple[Policy, Policy]
                ) -> Terms:
        image, caption = l2norm(image), l2norm(caption)
        advantage = advantages(image, caption)
        of_image, of_text = policies
        image_continuous = of_image.continuous[..., -1:] if self.sizes.released else of_image.continuous
        terms = {
            "retrieval": retrieval_loss(image, caption, self.sizes.released),
            "img_rl1": policy_loss(of_image.discrete, of_image, advantage),
            "text_rl1": policy_loss(of_text.discrete, of_text, advantage),
            "img_rl2": policy_loss(image_continuous, of_image, advantage),
            "text_rl2": policy_loss(of_text.continuous, of_text, advantage),
            "t_id": self.instance(image, batch.classes),
            "i_id": self.instance(caption, batch.classes),
            "text_decoder": self.decoder(batch, caption),
        }
        terms["total"] = sum(terms.values())
        return terms


class Matching(nn.Module):
    """Two encoders, and what they are trained by."""

    def __init__(self, s: Sizes, image: nn.Module, text: nn.Module, batched: bool) -> None:
        super().__init__()
        self.sizes = s
        self.img_enc = image
        self.txt_enc = text
        self.heads = Losses(s, batched)

    def losses(self, batch: Batch, noise: tuple[Noise, Noise] = (Noise(), Noise())) -> Terms:
        """`noise`: of the text, which draws first, and of the image."""
        caption, of_text = self.txt_enc(batch.vectors, batch.lengths, noise[0])
        image, of_image = self.img_enc(batch.images, noise[1])
        return self.heads(batch, image, caption, (of_image, of_text))

    def embed_images(self, images: Tensor) -> Tensor:
        return l2norm(self.img_enc(images, Noise())[0])

    def embed_captions(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        return l2norm(self.txt_enc(vectors, lengths, Noise())[0])
