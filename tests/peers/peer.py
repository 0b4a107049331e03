"""PyTorch's side of `make bench-peers`: the same models on the same shapes of data.

`peer.py CASE THREADS [LAYOUT]`: makes everything ready, says `ready`, then for each line on standard input measures
once and answers with seconds; at the input's end it says how many bytes of memory it took at most beside the loaded
library. LAYOUT is nchw, nhwc or loader (batches from a DataLoader). models/examples/speed does the same with ours.
"""

import resource
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def mlp():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 10)
    )


def cnn_fedavg():
    return nn.Sequential(
        nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, 10),
    )  # fmt: skip


def cnn_flower():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(256, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


class Block(nn.Module):
    """Two convolutions with group norms, and a shortcut that subsamples and pads channels where sizes change."""

    def __init__(self, inputs, filters, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, filters, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(8, filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(8, filters)
        self.shortcut = None
        if stride != 1 or inputs != filters:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, filters, 1, stride=stride, bias=False), nn.GroupNorm(8, filters)
            )

    def forward(self, x):
        y = F.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


def resnet20():
    layers = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.GroupNorm(8, 16), nn.ReLU()]
    inputs = 16
    for filters in (16, 32, 64):
        for block in range(3):
            layers.append(Block(inputs, filters, 2 if block == 0 and filters > 16 else 1))
            inputs = filters
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


class Layer(nn.Module):
    """One block of the transformer."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x, kept, first):
        batch, positions, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, positions, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if kept is not None:
            end = first + positions
            kept[0, :, :, first:end], kept[1, :, :, first:end] = k, v
            k, v = kept[:, :, :, :end].unbind(0)
        # A single query behind others sees all of them.
        y = F.scaled_dot_product_attention(q, k, v, is_causal=first == 0)
        x = x + self.out(y.transpose(1, 2).reshape(batch, positions, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """6 blocks, 6 heads, a width of 384, 65 tokens, 256 positions; the last layer is the embedding's table."""

    def __init__(self):
        super().__init__()
        self.tokens, self.places = nn.Embedding(65, 384), nn.Embedding(256, 384)
        self.layers = nn.ModuleList(Layer(384, 6) for _ in range(6))
        self.norm = nn.LayerNorm(384)

    def forward(self, x, kept=None, first=0):
        """Logits at the positions from the `first` on; `kept` has room for each layer's keys and values."""
        x = self.tokens(x) + self.places(torch.arange(first, first + x.shape[1]))
        for at, layer in enumerate(self.layers):
            x = layer(x, None if kept is None else kept[at], first)
        return F.linear(self.norm(x), self.tokens.weight)


def product(side):
    a, b, c = torch.rand(side, side), torch.rand(side, side), torch.empty(side, side)
    return lambda: torch.mm(a, b, out=c)


def training(model, shape, minibatch, count, layout):
    """One epoch over so many examples, in a new order."""
    order = torch.channels_last if layout == "nhwc" else torch.contiguous_format
    model = model.to(memory_format=order)
    inputs = torch.rand(count, *shape) * (torch.rand(count, *shape) < 0.2)
    labels = torch.arange(count) % 10
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, fused=True)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(inputs, labels), batch_size=minibatch, shuffle=True
    )

    def chosen():
        shuffled = torch.randperm(count)
        for start in range(0, count, minibatch):
            own = shuffled[start : start + minibatch]
            yield inputs[own], labels[own]

    def epoch():
        total = 0.0
        for x, y in loader if layout == "loader" else chosen():
            optimiser.zero_grad(set_to_none=True)
            loss = F.cross_entropy(model(x.contiguous(memory_format=order)), y)
            loss.backward()
            optimiser.step()
            total += loss.item() * len(y)
        return total

    return epoch


def transformer(sequences):
    model = Transformer()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1, fused=True)
    tokens = torch.randint(65, (256 * sequences + 1,))
    x, y = tokens[:-1].view(sequences, 256), tokens[1:]

    def step():
        optimiser.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(x).view(-1, 65), y)
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


def generation(sequences, prompt, wanted):
    """So many tokens after each prompt, all sequences at once; always the likeliest token."""
    model = Transformer().eval()
    kept = torch.empty(6, 2, sequences, 6, 256, 64)
    prompts = torch.randint(65, (sequences, prompt))

    @torch.inference_mode()
    def generate():
        piece, first = prompts, 0
        for _ in range(wanted):
            logits = model(piece, kept, first)
            first += piece.shape[1]
            piece = logits[:, -1:].argmax(-1)
        return piece.sum().item()

    return generate


def ready(case, layout):
    name, size = case.rsplit("-", 1)
    size = int(size)
    digits = (1, 28, 28)
    match name:
        case "matmul":
            return product(size)
        case "logistic":
            return training(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), digits, size, 6400, layout)
        case "mlp":
            return training(mlp(), digits, size, 6400, layout)
        case "cnn-fedavg":
            return training(cnn_fedavg(), digits, size, 640, layout)
        case "cnn-flower":
            return training(cnn_flower(), digits, size, 6400, layout)
        case "resnet20":
            return training(resnet20(), (3, 32, 32), size, 2 * size, layout)
        case "transformer":
            return transformer(size)
        case "prefill":
            return generation(size, 192, 1)
        case "decode":
            return generation(size, 1, 192)
    raise SystemExit(f"'{name}' is not a case")


def main():
    torch.manual_seed(1)
    torch.set_num_threads(int(sys.argv[2]))
    before = resident()
    work = ready(sys.argv[1], sys.argv[3] if len(sys.argv) > 3 else "nchw")
    work()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        work()
        print(time.perf_counter() - start, flush=True)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before)


main()
