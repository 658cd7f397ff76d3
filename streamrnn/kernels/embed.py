"""The row of a table for each token of a wave: what the product of a one-hot vector with the table would give.

No arithmetic, so there is nothing to round. What follows reads the row as it would read any layer's output.
"""

from __future__ import annotations

from streamrnn._jit import apart, kernel

__all__ = ["embed"]


@kernel
def embed(src, src_rows, src_off, table, n_tokens, out, out_off, n):
    """out[s, out_off : out_off + N] = table[src[src_rows[s], src_off]] for s < n.

    src, out float32 with two dimensions, src holding tokens as whole numbers; table float32 (n_tokens * N,), row after
    row. A token beyond the table takes its nearest row: whoever called checked, and this reads nothing else's memory.
    """
    apart()
    N = table.shape[0] // n_tokens
    for s in range(n):
        token = min(max(int(src[src_rows[s], src_off]), 0), n_tokens - 1)
        for j in range(N):
            out[s, out_off + j] = table[token * N + j]
