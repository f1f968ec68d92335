#!/usr/bin/env python3
"""The work of `cargo xtask bench`, done by PyTorch: one line in, the seconds and CPU seconds it took out.

A line is `THREADS NAME SIZES..`; what it needs is made on its first call, which is not timed. Started by the benchmark with
--peer, so that both sides run in the same rounds on the same machine.
"""
import sys, time
import torch

torch.set_grad_enabled(False)


def draw(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


def network(d, width, depth, dtype=torch.float32):
    dims = [d] + [width] * (depth - 1) + [1]
    return [draw(o, i, dtype=dtype) * 0.02 for i, o in zip(dims, dims[1:])], draw(width, dtype=dtype) * 0.02


def product(m, k, n, transposed):
    a = draw(k, m).T if transposed[0] == "t" else draw(m, k)
    b = draw(n, k).T if transposed[1] == "t" else draw(k, n)
    out = torch.empty(m, n)
    return lambda: torch.mm(a, b, out=out)


def epoch(n, d, width, depth):
    """Forward, backward and update of full-batch descent, bias in the first layer."""
    weights, bias = network(d, width, depth)
    x, y = draw(n, d), torch.where(torch.arange(n) % 2 == 0, 1.0, -1.0)

    def run():
        hs = [x]
        for l, w in enumerate(weights[:-1]):
            hs.append(torch.relu(hs[-1] @ w.T + (bias if l == 0 else 0)))
        margin = y * (hs[-1] @ weights[-1][0])
        g = -y * torch.sigmoid(-margin) / n
        delta = torch.outer(g, weights[-1][0]) * (hs[-1] > 0)
        gradients = [(g @ hs[-1])[None]]
        for l in range(len(weights) - 2, -1, -1):
            gradients.insert(0, delta.T @ hs[l])
            if l:
                delta = (delta @ weights[l]) * (hs[l] > 0)
        for w, gradient in zip(weights, gradients):
            w.sub_(gradient, alpha=1e-6)
        bias.sub_(delta.sum(0), alpha=1e-6)

    return run


class Gate(torch.autograd.Function):
    """ReLU whose derivative is a sigmoid, as published."""

    @staticmethod
    def forward(ctx, z):
        ctx.z = z
        return torch.relu(z)

    @staticmethod
    def backward(ctx, q):
        return q * torch.sigmoid(20 * ctx.z)


def attack(m, d, width, depth, dtype):
    """The published step: the residual's gradient by differentiating twice."""
    dtype = getattr(torch, dtype)
    weights, bias = network(d, width, depth, dtype)
    x0, c0 = draw(m, d, dtype=dtype), torch.full((m,), 0.01, dtype=dtype)

    def run():
        with torch.enable_grad():
            parameters = [w.clone().requires_grad_() for w in weights]
            b = bias.clone().requires_grad_()
            x, c = x0.clone().requires_grad_(), c0.clone().requires_grad_()
            h = x
            for l, w in enumerate(parameters[:-1]):
                h = Gate.apply(h @ w.T + (b if l == 0 else 0))
            value = ((h @ parameters[-1].T)[:, 0] * c).sum()
            gradients = torch.autograd.grad(value, parameters + [b], create_graph=True)
            targets = weights + [bias]
            sum(((t - g) ** 2).sum() for t, g in zip(targets, gradients)).backward()

    return run


def alternating(m, r, width, depth):
    """Gates, Gram matrix, one solve."""
    weights, bias = network(r, width, depth)
    target = torch.cat([weights[0], bias[:, None]], 1)
    y = torch.where(torch.arange(m) < m // 2, -1.0, 1.0)
    x0, c0 = draw(m, r), torch.full((m,), 0.5 / m)

    def run():
        h, slopes = x0, []
        for l, w in enumerate(weights[:-1]):
            z = h @ w.T + (bias if l == 0 else 0)
            slopes.append(torch.sigmoid(20 * z))
            h = torch.relu(z)
        u = weights[-1][0] * slopes[-1]
        for l in range(len(weights) - 2, 0, -1):
            u = (u @ weights[l]) * slopes[l - 1]
        u = u * y[:, None]
        gram = u @ u.T
        before = torch.cat([c0[:, None] * x0, c0[:, None]], 1)
        float((target - u.T @ before).norm())
        t = gram.diag().mean()
        torch.linalg.solve(gram + t * torch.eye(m), u @ target + t * before)

    return run


WORKS = {"product": product, "epoch": epoch, "attack": attack, "alternating": alternating}
ready = {}
print("ready", torch.__version__, flush=True)
for line in sys.stdin:
    threads, name, *sizes = line.split()
    torch.set_num_threads(int(threads))
    if line not in ready:
        ready[line] = WORKS[name](*[int(s) if s.isdigit() else s for s in sizes])
        ready[line]()
    start, cpu_start = time.perf_counter(), time.process_time()
    ready[line]()
    print(time.perf_counter() - start, time.process_time() - cpu_start, flush=True)
