"""A training step of a gpt2 or a llama in PyTorch, driven over standard input by the benchmarks.

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
parser.add_argument("--family", default="gpt2")
parser.add_argument("--kv_heads", type=int, default=0)
parser.add_argument("--ffn", type=int, default=0)
parser.add_argument("--tied", default="yes")
parser.add_argument("--lora", type=int, default=0)
parser.add_argument("--recompute", default="auto", help="ours alone")
args = parser.parse_args()
args.kv_heads = args.kv_heads or args.heads
args.ffn = args.ffn or 4 * args.channels

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


class Adapted(nn.Module):
    """A frozen linear layer with an adapter beside it."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.base = nn.Linear(inputs, outputs, bias=False)
        self.base.weight.requires_grad_(False)
        self.a = nn.Parameter(torch.randn(args.lora, inputs) * 0.02)
        self.b = nn.Parameter(torch.zeros(outputs, args.lora))

    def forward(self, x):
        return self.base(x) + (x @ self.a.t()) @ self.b.t() * 2


def linear(inputs, outputs):
    return Adapted(inputs, outputs) if args.lora else nn.Linear(inputs, outputs, bias=False)


class RmsNorm(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels), requires_grad=args.lora == 0)

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


def turned(x, cosines, sines):
    half = x.shape[-1] // 2
    return x * cosines + torch.cat((-x[..., half:], x[..., :half]), -1) * sines


class LlamaBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.size = channels // args.heads
        kv = self.size * args.kv_heads
        self.norm_1 = RmsNorm(channels)
        self.q, self.k, self.v = linear(channels, channels), linear(channels, kv), linear(channels, kv)
        self.o = linear(channels, channels)
        self.norm_2 = RmsNorm(channels)
        self.gate, self.up = linear(channels, args.ffn), linear(channels, args.ffn)
        self.down = linear(args.ffn, channels)

    def forward(self, x, mask, cosines, sines):
        batch, length, channels = x.shape
        h = self.norm_1(x)
        q, k, v = (
            layer(h).view(batch, length, -1, self.size).transpose(1, 2) for layer in (self.q, self.k, self.v)
        )
        q, k = turned(q, cosines, sines), turned(k, cosines, sines)
        groups = args.heads // args.kv_heads
        if groups > 1:
            k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        scores = (q @ k.transpose(-2, -1)) * self.size**-0.5
        scores = scores.masked_fill(mask, float("-inf"))
        mixed = (F.softmax(scores, dim=-1) @ v).transpose(1, 2).reshape(batch, length, channels)
        x = x + self.o(mixed)
        h = self.norm_2(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Llama(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(args.vocab, args.channels)
        self.table.weight.requires_grad_(args.lora == 0)
        self.blocks = nn.ModuleList(LlamaBlock(args.channels) for _ in range(args.layers))
        self.norm = RmsNorm(args.channels)
        if args.tied != "yes":
            self.head = nn.Linear(args.channels, args.vocab, bias=False)
            self.head.weight.requires_grad_(args.lora == 0)
        for parameter in self.parameters():
            if parameter.dim() == 2 and parameter.requires_grad and args.lora == 0:
                nn.init.normal_(parameter, std=0.02)
        size = args.channels // args.heads
        angles = torch.outer(
            torch.arange(args.context).float(), 10000.0 ** (-torch.arange(0, size, 2).float() / size)
        )
        self.register_buffer("cosines", torch.cat((angles, angles), -1).cos())
        self.register_buffer("sines", torch.cat((angles, angles), -1).sin())
        self.register_buffer("mask", torch.ones(args.context, args.context, dtype=torch.bool).triu(1))

    def forward(self, tokens, targets):
        x = self.table(tokens)
        for block in self.blocks:
            x = block(x, self.mask, self.cosines, self.sines)
        x = self.norm(x)
        logits = x @ self.table.weight.t() if args.tied == "yes" else self.head(x)
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.reshape(-1))


model = Gpt2() if args.family == "gpt2" else Llama()
trained = [p for p in model.parameters() if p.requires_grad]
matrices = [p for p in trained if p.dim() >= 2]
vectors = [p for p in trained if p.dim() < 2]
optimizer = torch.optim.AdamW(
    [{"params": matrices, "weight_decay": 0.1}]
    + ([{"params": vectors, "weight_decay": 0.0}] if vectors else []),
    lr=3e-4,
    betas=(0.9, 0.95),
)


def step():
    tokens = torch.randint(args.vocab, (args.batch, args.context + 1))
    loss = model(tokens[:, :-1], tokens[:, 1:])
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    return loss.item()


print(json.dumps({"ready": True, "torch": torch.__version__, "threads": torch.get_num_threads()}), flush=True)
for line in sys.stdin:
    durations = []
    before = time.process_time()
    for _ in range(int(line)):
        started = time.perf_counter()
        loss = step()
        durations.append((time.perf_counter() - started) * 1000)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    processor = (time.process_time() - before) * 1000 / max(1, len(durations))
    print(
        json.dumps({"ms": durations, "processor_ms": processor, "loss": loss, "peak_memory_bytes": peak}),
        flush=True,
    )
