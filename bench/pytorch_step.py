"""A gpt2-family training step in PyTorch, driven over standard input by bench/against-pytorch.mjs.

Each line on stdin is a number of steps to run; the answer is one JSON line with the milliseconds of each step.
Same work as Anecdote's step: forward, cross-entropy, backward, clipping by global norm, AdamW (no decay on
norms and biases), tanh GELU, tied head.
"""

import argparse
import json
import resource
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--layers", type=int, default=6)
parser.add_argument("--heads", type=int, default=6)
parser.add_argument("--channels", type=int, default=384)
parser.add_argument("--vocab", type=int, default=8192)
parser.add_argument("--batch", type=int, default=4)
parser.add_argument("--context", type=int, default=256)
parser.add_argument("--threads", type=int, default=2)
args = parser.parse_args()

torch.manual_seed(1)
torch.set_num_threads(args.threads)


class Block(nn.Module):
    def __init__(self, channels, heads):
        super().__init__()
        self.heads = heads
        self.ln_1 = nn.LayerNorm(channels)
        self.c_attn = nn.Linear(channels, 3 * channels)
        self.c_proj = nn.Linear(channels, channels)
        self.ln_2 = nn.LayerNorm(channels)
        self.c_fc = nn.Linear(channels, 4 * channels)
        self.mlp_proj = nn.Linear(4 * channels, channels)

    def forward(self, x, mask):
        batch, length, channels = x.shape
        q, k, v = self.c_attn(self.ln_1(x)).split(channels, dim=2)
        q, k, v = (
            t.view(batch, length, self.heads, channels // self.heads).transpose(1, 2) for t in (q, k, v)
        )
        scores = (q @ k.transpose(-2, -1)) * (channels // self.heads) ** -0.5
        scores = scores.masked_fill(mask, float("-inf"))
        mixed = (F.softmax(scores, dim=-1) @ v).transpose(1, 2).reshape(batch, length, channels)
        x = x + self.c_proj(mixed)
        return x + self.mlp_proj(F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))


class Gpt2(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(args.vocab, args.channels)
        self.wpe = nn.Embedding(args.context, args.channels)
        self.blocks = nn.ModuleList(Block(args.channels, args.heads) for _ in range(args.layers))
        self.ln_f = nn.LayerNorm(args.channels)
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02)
        self.register_buffer("mask", torch.ones(args.context, args.context, dtype=torch.bool).triu(1))

    def forward(self, tokens, targets):
        x = self.wte(tokens) + self.wpe.weight
        for block in self.blocks:
            x = block(x, self.mask)
        logits = self.ln_f(x) @ self.wte.weight.t()
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.reshape(-1))


model = Gpt2()
matrices = [p for p in model.parameters() if p.dim() >= 2]
vectors = [p for p in model.parameters() if p.dim() < 2]
optimizer = torch.optim.AdamW(
    [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
    lr=3e-4,
    betas=(0.9, 0.95),
)


def step():
    tokens = torch.randint(args.vocab, (args.batch, args.context + 1))
    loss = model(tokens[:, :-1], tokens[:, 1:])
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


print(json.dumps({"ready": True, "torch": torch.__version__, "threads": torch.get_num_threads()}), flush=True)
for line in sys.stdin:
    durations = []
    for _ in range(int(line)):
        started = time.perf_counter()
        loss = step()
        durations.append((time.perf_counter() - started) * 1000)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"ms": durations, "loss": loss, "peak_memory_bytes": peak}), flush=True)
