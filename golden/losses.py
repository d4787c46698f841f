"""Values and gradients of losses, and choices of miners, by pytorch-metric-learning.

    python3 golden/losses.py            writes golden/losses/pytorch_metric_learning.json
    python3 golden/losses.py --check    derives all of it again and compares

One small batch with classes of uneven sizes, in f64. A case holds the settings as our recipes write them, the
value, the gradient of every embedding (before it is scaled to unit length) and of every parameter of the loss.
`only` lists the pairs that were shown, where they are not all. Where the library means something else by the
same name, the settings are chosen so that both mean the same:

- margin: the library counts triplets, so a pair once for each triplet it is in; here each pair is in one.
- n-pair: without the penalty, which the library does not have; two pictures a class.
- soft-triple: without the penalty, which the library does not have.
- cross-batch memory: the library's value is the part against the memory alone, without the batch's own.

Needs torch and pytorch-metric-learning (golden/requirements-torch.txt). Checking does without where they are
missing, and says so.
"""

import json
import math
import pathlib
import sys

try:
    import torch
    from pytorch_metric_learning import distances, losses, miners, reducers
except ImportError:
    torch = None

HERE = pathlib.Path(__file__).parent / "losses"
CLASSES = [0, 0, 0, 1, 1, 2, 2, 3]
DIM = 4


def numbers(count, seed):
    """Numbers between -1 and 1, the same on every machine, with six digits."""
    return [round(math.sin(12.9898 * (i + 1) + 78.233 * seed) * 43758.5453 % 2 - 1, 6) for i in range(count)]


def matrix(rows, columns, seed):
    values = numbers(rows * columns, seed)
    return torch.tensor(values, dtype=torch.float64).reshape(rows, columns)


def case(settings, loss, classes=CLASSES, tuples=None, parameters=(), only=None):
    """Runs a loss; `parameters` are (our name, tensor of the loss, whether it is our transpose, seed)."""
    embeddings = matrix(len(classes), DIM, 1).requires_grad_()
    ours = {}
    for name, tensor, transposed, seed in parameters:
        rows, columns = reversed(tensor.shape) if transposed else (tensor.shape if tensor.ndim > 1 else (1, len(tensor)))
        values = matrix(rows, columns, seed)
        ours[name] = [list(values.shape) if tensor.ndim > 1 else [columns], values]
        tensor.data = values.t().clone() if transposed else values.reshape(tensor.shape).clone()
    value = loss(embeddings, torch.tensor(classes), tuples)
    value.backward()
    slopes = {name: (t.grad.t() if transposed else t.grad).reshape(-1) for name, t, transposed, _ in parameters}
    return {
        "settings": settings,
        "classes": classes,
        "embeddings": flat(embeddings),
        "only": only,
        "parameters": {name: {"shape": shape, "values": flat(values)} for name, (shape, values) in ours.items()},
        "value": float(value.detach()),
        "gradient": flat(embeddings.grad),
        "slopes": {name: flat(slope) for name, slope in slopes.items()},
    }


def flat(tensor):
    return [float(v) for v in tensor.detach().reshape(-1)]


def all_cases():
    count = max(CLASSES) + 1
    raw = {"normalize_embeddings": False}
    face = {"num_classes": count, "embedding_size": DIM}
    yield case(
        {"name": "contrastive", "curve": "linear", "alike_margin": 0.25, "unlike_margin": 1.25},
        losses.ContrastiveLoss(pos_margin=0.25, neg_margin=1.25),
    )
    yield case(
        {"name": "contrastive", "curve": "linear", "unit": False, "reduction": "sum"},
        losses.ContrastiveLoss(distance=distances.LpDistance(**raw), reducer=reducers.SumReducer()),
    )
    yield case({"name": "triplet"}, losses.TripletMarginLoss(margin=0.2, distance=distances.LpDistance(power=2)))
    yield case(
        {"name": "triplet", "squared": False, "unit": False, "margin": 0.5, "reduction": "mean"},
        losses.TripletMarginLoss(margin=0.5, distance=distances.LpDistance(**raw), reducer=reducers.MeanReducer()),
    )
    hard = miners.BatchHardMiner(distance=distances.LpDistance(**raw))
    found = hard(matrix(len(CLASSES), DIM, 1), torch.tensor(CLASSES))
    yield case(
        {"name": "batch-hard"},
        losses.TripletMarginLoss(margin=0, smooth_loss=True, distance=distances.LpDistance(**raw)),
        tuples=found,
    )
    yield case(
        {"name": "batch-hard", "soft": False, "margin": 0.3},
        losses.TripletMarginLoss(margin=0.3, distance=distances.LpDistance(**raw), reducer=reducers.MeanReducer()),
        tuples=found,
    )
    pairs = (torch.tensor([0, 2, 4]), torch.tensor([1, 3, 5]), torch.tensor([0]), torch.tensor([2]))
    yield case(
        {"name": "n-pair", "penalty": 0.0},
        losses.NPairsLoss(distance=distances.DotProductSimilarity(**raw)),
        classes=[0, 0, 1, 1, 2, 2],
        tuples=pairs,
    )
    yield case({"name": "lifted"}, losses.LiftedStructureLoss(distance=distances.LpDistance(**raw)))
    chosen = [[0, 1, 3], [1, 2, 7], [3, 4, 0], [5, 6, 2], [6, 5, 4]]
    margin = losses.MarginLoss(margin=0.2, beta=1.2, learn_beta=True, num_classes=count)
    yield case(
        {"name": "margin"},
        margin,
        tuples=tuple(torch.tensor(column) for column in zip(*chosen)),
        parameters=[("beta", margin.beta, False, 3)],
        only={"alike": [[a, p] for a, p, _ in chosen], "unlike": [[a, n] for a, _, n in chosen]},
    )
    yield case({"name": "multi-similarity"}, losses.MultiSimilarityLoss())
    yield case({"name": "circle"}, losses.CircleLoss())
    yield case({"name": "circle", "margin": 0.25, "gamma": 4.0}, losses.CircleLoss(m=0.25, gamma=4))
    yield case({"name": "supcon"}, losses.SupConLoss())
    yield case({"name": "nt-xent"}, losses.NTXentLoss())
    proxy = losses.ProxyNCALoss(softmax_scale=9, **face)
    yield case({"name": "proxy-nca"}, proxy, parameters=[("proxies", proxy.proxies, False, 2)])
    proxy = losses.ProxyAnchorLoss(**face)
    yield case({"name": "proxy-anchor"}, proxy, parameters=[("proxies", proxy.proxies, False, 2)])
    triple = losses.SoftTripleLoss(centers_per_class=3, **face)
    yield case(
        {"name": "soft-triple", "centres": 3, "penalty": 0.0}, triple, parameters=[("centres", triple.fc, True, 2)]
    )
    sphere = losses.SphereFaceLoss(margin=4, scale=1, **face)
    yield case(
        {"name": "sphereface", "first": 0.0, "last": 0.0}, sphere, parameters=[("weight", sphere.W, True, 2)]
    )
    cos = losses.CosFaceLoss(margin=0.35, scale=64, **face)
    yield case({"name": "cosface"}, cos, parameters=[("weight", cos.W, True, 2)])
    arc = losses.ArcFaceLoss(margin=math.degrees(0.5), scale=64, **face)
    yield case({"name": "arcface"}, arc, parameters=[("weight", arc.W, True, 2)])


def memory():
    """Two batches through a memory of six: the second's value and gradient."""
    loss = losses.CrossBatchMemory(
        losses.ContrastiveLoss(pos_margin=0, neg_margin=1, reducer=reducers.SumReducer()), DIM, memory_size=6
    )
    batches = [(matrix(4, DIM, seed), [0, 0, 1, 2]) for seed in (5, 6)]
    loss(batches[0][0], torch.tensor(batches[0][1]))
    second = batches[1][0].clone().requires_grad_()
    value = loss(second, torch.tensor(batches[1][1]))
    value.backward()
    return {
        "size": 6,
        "batches": [{"embeddings": flat(rows), "classes": classes} for rows, classes in batches],
        "value": float(value.detach()),
        "gradient": flat(second.grad),
    }


def mined():
    """What miners keep of the batch: alike and unlike pairs, sorted."""
    found = {
        "hard": miners.BatchHardMiner(),
        "easy-positive": miners.BatchEasyHardMiner(pos_strategy="easy", neg_strategy="semihard"),
        "multi-similarity": miners.MultiSimilarityMiner(epsilon=0.1),
        "pair-margin": miners.PairMarginMiner(pos_margin=0.5, neg_margin=1.2),
    }
    out = {}
    for name, miner in found.items():
        chosen = miner(matrix(len(CLASSES), DIM, 1), torch.tensor(CLASSES))
        a, p, b, n = chosen if len(chosen) == 4 else (chosen[0], chosen[1], chosen[0], chosen[2])
        pair = lambda x, y: sorted([int(i), int(j)] for i, j in zip(x, y))
        out[name] = {"alike": pair(a, p), "unlike": pair(b, n)}
    return out


def everything():
    torch.manual_seed(0)
    return {"cases": list(all_cases()), "memory": memory(), "miners": mined()}


def worst(a, b):
    """Largest difference between two trees of numbers; other leaves must be equal."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return max([worst(a[key], b[key]) for key in a], default=0.0)
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return max([worst(x, y) for x, y in zip(a, b)], default=0.0)
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return abs(a - b)
    return 0.0 if a == b else math.inf


def main():
    path = HERE / "pytorch_metric_learning.json"
    if "--check" not in sys.argv:
        if torch is None:
            sys.exit("writing losses/ needs golden/requirements-torch.txt: pip install -r golden/requirements-torch.txt")
        HERE.mkdir(exist_ok=True)
        return path.write_text(json.dumps(everything()) + "\n")
    if torch is None:
        return print("NOT DERIVED AGAIN: losses by pytorch-metric-learning; it is not installed")
    committed = json.loads(path.read_text())
    difference = worst(committed, everything())
    if difference > 1e-9:
        sys.exit(f"losses: the committed numbers differ by {difference:.2e}")
    print(f"losses: {len(committed['cases'])} cases, largest difference {difference:.2e}")


if __name__ == "__main__":
    main()
