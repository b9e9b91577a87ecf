"""Multi-head attention written out: what a tape shows of torch's, and what is left of it when heads go.

torch's `nn.MultiheadAttention` can have no fewer heads than its width asks for; `CutAttention` has the same weights by the same names, with
as many heads as its projections hold.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

_SIGNATURE = inspect.signature(functional.multi_head_attention_forward)


def attend(
    inputs: tuple[Tensor, Tensor, Tensor], projections: tuple[Sequence[Tensor], Tensor | None], out: tuple[Tensor, Tensor | None],
    head_dim: int, *, mask: Tensor | None = None, padding: Tensor | None = None, dropout: float = 0.0, weights: str = "none",
) -> tuple[Tensor, Tensor | None]:
    """Return what heads of *head_dim* make of *inputs* (query, key, value), each (tokens, batch, width), and the shares of attention.

    Args:
        inputs: query, key and value.
        projections: one weight for all three or one for each, and their bias, (3 heads head_dim,).
        out: weight (width, heads head_dim) and bias of the last projection.
        head_dim: width of a head; there are as many heads as the projections have room for.
        mask: added to the logits, (queries, keys).
        padding: added to the logits, (batch, keys).
        dropout: share of the attention that is dropped.
        weights: shares to return: `none`, their `mean` over heads, or those of `each`.
    """
    query, key, value = inputs
    weight, bias = projections
    if len(weight) == 1 and query is key and key is value:
        parts: Sequence[Tensor] = functional.linear(query, weight[0], bias).chunk(3, -1)
    else:
        each = weight[0].chunk(3) if len(weight) == 1 else weight
        biases = (None, None, None) if bias is None else bias.chunk(3)
        parts = [functional.linear(*operands) for operands in zip(inputs, each, biases, strict=True)]
    q, k, v = (part.view(*part.shape[:-1], -1, head_dim).permute(1, 2, 0, 3) for part in parts)  # (batch, heads, tokens, head_dim)
    if padding is not None:
        padding = padding[:, None, None]
        mask = padding if mask is None else mask + padding
    shares = None
    if weights == "none":
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
    else:
        logits = torch.matmul(q * head_dim**-0.5, k.transpose(-2, -1))
        shares = functional.dropout((logits if mask is None else logits + mask).softmax(-1), dropout, training=dropout > 0)
        mixed = torch.matmul(shares, v)
    answer = functional.linear(mixed.permute(2, 0, 1, 3).flatten(2), *out)
    return answer, shares.mean(1) if shares is not None and weights == "mean" else shares


def can_be_written_out(args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Whether a call of torch's `multi_head_attention_forward` is one that `attend` can do."""
    given = _SIGNATURE.bind(*args, **kwargs).arguments
    unusual = any(given.get(name) is not None for name in ("bias_k", "bias_v", "static_k", "static_v")) or given["add_zero_attn"]
    mask = given.get("attn_mask")
    return not unusual and given["query"].dim() == 3 and (mask is None or mask.dim() == 2)


def written_out(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
    """Do what torch's `multi_head_attention_forward` does with the same arguments."""
    given = _SIGNATURE.bind(*args, **kwargs)
    given.apply_defaults()
    a = given.arguments
    split = [a[f"{name}_proj_weight"] for name in "qkv"] if a["use_separate_proj_weight"] else [a["in_proj_weight"]]
    return attend(
        (a["query"], a["key"], a["value"]), (split, a["in_proj_bias"]), (a["out_proj_weight"], a["out_proj_bias"]),
        int(a["embed_dim_to_check"]) // int(a["num_heads"]), mask=_added(a["attn_mask"], a["query"]),
        padding=_added(a["key_padding_mask"], a["query"]), dropout=a["dropout_p"] if a["training"] else 0.0,
        weights=_wanted(a["need_weights"], a["average_attn_weights"]),
    )


def _wanted(need: bool, average: bool) -> str:
    return ("mean" if average else "each") if need else "none"


def _added(mask: Tensor | None, like: Tensor) -> Tensor | None:
    """A mask of booleans (True is left out) as what is added to logits."""
    if mask is None or mask.is_floating_point():
        return mask
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, float("-inf"))


@final
class CutAttention(nn.MultiheadAttention):
    """Attention with fewer heads, or of another width, than its class would have; made by `of`, never from the start."""

    @classmethod
    def of(cls, whole: nn.MultiheadAttention) -> CutAttention:
        """Return *whole*, whose weights have been cut, as a module that can work with them."""
        cut = cls.__new__(cls)
        vars(cut).update(vars(whole))
        rows = sum(len(weight) for weight in cut._weights()) // 3
        cut.num_heads, cut.embed_dim = rows // cut.head_dim, len(cut.out_proj.weight)
        cut.out_proj.out_features, cut.out_proj.in_features = cut.out_proj.weight.shape
        cut._qkv_same_embed_dim = False  # torch's fast path then leaves it alone
        return cut

    def _weights(self) -> list[Tensor]:
        separate = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        return [self.in_proj_weight] if self.in_proj_weight is not None else [weight for weight in separate if weight is not None]

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None, need_weights: bool = True,
        attn_mask: Tensor | None = None, average_attn_weights: bool = True, is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Do as `nn.MultiheadAttention` does; masks of *is_causal* are read from *attn_mask*, which torch asks for as well."""
        if query is key and key is value:
            query = key = value = query.transpose(0, 1) if self.batch_first else query
        elif self.batch_first:
            query, key, value = (each.transpose(0, 1) for each in (query, key, value))
        answer, shares = attend(
            (query, key, value), (self._weights(), self.in_proj_bias), (self.out_proj.weight, self.out_proj.bias), self.head_dim,
            mask=_added(attn_mask, query), padding=_added(key_padding_mask, query), dropout=self.dropout if self.training else 0.0,
            weights=_wanted(need_weights, average_attn_weights),
        )
        return answer.transpose(0, 1) if self.batch_first else answer, shares
