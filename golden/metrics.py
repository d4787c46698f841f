"""Writes golden/metrics/*.json, which crates/eval/tests/golden.rs compares with.

    python3 golden/metrics.py            writes them
    python3 golden/metrics.py --check    derives every number again from the inputs in the files, and compares

Writing needs numpy, scikit-learn, torch and pytorch-metric-learning; the versions used are written into the files.
Checking does without the last two where they are missing, and says so.

Three sources that share no code with ours:
- normalised mutual information: scikit-learn (arithmetic mean of the entropies);
- precision at 1, R-precision, MAP@R without ties: pytorch-metric-learning;
- everything, ties and families included: the definitions, by plain loops over a full distance matrix.
"""

import json
import sys
from pathlib import Path

import numpy as np
import sklearn
from sklearn.metrics import normalized_mutual_info_score

try:
    import pytorch_metric_learning
    import torch
    from pytorch_metric_learning.distances import DotProductSimilarity, LpDistance
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN
except ImportError:
    torch = None

CUTS = [1, 2, 4, 8]
OUT = Path(__file__).parent / "metrics"


def naive(case):
    """Every metric from its definition; ties by (distance, row number)."""
    rows = np.array(case["rows"], dtype=np.float64).reshape(-1, case["dim"])
    labels, families = case["labels"], case["families"]
    found = {cut: [] for cut in CUTS}
    maps, r_precisions, dropped, tied = [], [], 0, 0
    for q in case["queries"]:
        gallery = [g for g in case["gallery"] if g != q and (families is None or families[g] != families[q])]
        if case["metric"] == "l2":
            distance = {g: float(((rows[q] - rows[g]) ** 2).sum()) for g in gallery}
        else:
            distance = {g: -float(rows[q] @ rows[g]) for g in gallery}
        ranked = sorted(gallery, key=lambda g: (distance[g], g))
        right = [labels[g] == labels[q] for g in ranked]
        relevant = sum(right)
        if relevant == 0:
            dropped += 1
            continue
        for cut in CUTS:
            found[cut].append(any(right[:cut]))
        precisions = [sum(right[: i + 1]) / (i + 1) for i in range(relevant)]
        maps.append(sum(p for p, r in zip(precisions, right) if r) / relevant)
        r_precisions.append(sum(right[:relevant]) / relevant)
        last = distance[ranked[min(max(CUTS[-1], relevant), len(ranked)) - 1]]
        kinds = {}
        for g, is_right in zip(ranked, right):
            if distance[g] <= last:
                kinds.setdefault(distance[g], set()).add(is_right)
        tied += any(len(kind) == 2 for kind in kinds.values())
    want = {f"recall@{cut}": float(np.mean(found[cut])) for cut in CUTS}
    want |= {"map@r": float(np.mean(maps)), "r_precision": float(np.mean(r_precisions))}
    want |= {"queries": len(maps), "dropped_queries": dropped, "ties": tied}
    return want


def reference(case):
    """What pytorch-metric-learning says; it knows neither families nor an order among ties."""
    rows = torch.tensor(case["rows"], dtype=torch.float64).reshape(-1, case["dim"])
    labels = torch.tensor(case["labels"])
    if case["metric"] == "l2":
        distance = LpDistance(normalize_embeddings=False, p=2, power=2)
    else:
        distance = DotProductSimilarity(normalize_embeddings=False)
    calculator = AccuracyCalculator(
        include=("precision_at_1", "r_precision", "mean_average_precision_at_r"),
        k="max_bin_count",
        knn_func=CustomKNN(distance),
        device=torch.device("cpu"),
    )
    queries, gallery = case["queries"], case["gallery"]
    if queries == gallery:
        got = calculator.get_accuracy(rows[queries], labels[queries])
    else:
        got = calculator.get_accuracy(rows[queries], labels[queries], rows[gallery], labels[gallery])
    return {
        "recall@1": got["precision_at_1"],
        "map@r": got["mean_average_precision_at_r"],
        "r_precision": got["r_precision"],
    }


def clouds(rng, sizes, dim, spread, unit):
    """One Gaussian cloud a class."""
    rows, labels = [], []
    for label, size in enumerate(sizes):
        centre = rng.normal(size=dim)
        rows.append(centre + spread * rng.normal(size=(size, dim)))
        labels += [label * 3 + 1] * size
    rows = np.concatenate(rows)
    if unit:
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    order = rng.permutation(len(rows))
    return rows[order].astype(np.float32), [labels[i] for i in order]


def case(name, rows, labels, metric, queries=None, gallery=None, families=None):
    everyone = list(range(len(labels)))
    made = {
        "name": name,
        "metric": metric,
        "dim": int(rows.shape[1]),
        "rows": [float(value) for value in rows.ravel()],
        "labels": [int(label) for label in labels],
        "families": None if families is None else [int(family) for family in families],
        "queries": everyone if queries is None else [int(i) for i in queries],
        "gallery": everyone if gallery is None else [int(i) for i in gallery],
    }
    made["want"] = naive(made)
    made["source"] = "definition"
    # Ties have no order there, so its answer would be luck.
    if families is None and made["want"]["ties"] == 0:
        made["source"] = "definition and pytorch-metric-learning"
        for key, value in reference(made).items():
            assert abs(value - made["want"][key]) < 1e-9, (name, key, value, made["want"][key])
            made["want"][key] = float(value)
    return made


def retrieval(rng):
    cases = []
    rows, labels = clouds(rng, [5, 9, 2, 14, 7], 6, 1.1, unit=True)
    cases.append(case("dot, all pairs", rows, labels, "dot"))
    rows, labels = clouds(rng, [4, 1, 6, 1, 11, 3], 5, 0.9, unit=False)
    cases.append(case("l2, all pairs, two lone queries", rows, labels, "l2"))
    rows, labels = clouds(rng, [6, 6, 2, 8, 1, 9], 4, 1.0, unit=False)
    order = rng.permutation(len(labels))
    cases.append(case("l2, query and gallery", rows, labels, "l2", sorted(order[:14]), sorted(order[14:])))
    rows, labels = clouds(rng, [7, 7, 7, 7], 3, 1.4, unit=True)
    cases.append(case("dot, query and gallery share pictures", rows, labels, "dot", range(0, 28, 2), range(28), [i for i in range(28)]))
    # A coarse grid of whole numbers: distances are exact in f32 and often equal.
    rows = rng.integers(0, 3, size=(40, 3)).astype(np.float32)
    cases.append(case("l2, many ties", rows, rng.integers(0, 6, size=40), "l2"))
    cases.append(case("dot, many ties", rows, rng.integers(0, 12, size=40), "dot"))
    cases.append(case("l2, all pictures the same", np.ones((9, 2), np.float32), [0, 1, 2] * 3, "l2"))
    rows, labels = clouds(rng, [8, 10, 6, 3], 4, 1.2, unit=True)
    families = [label * 10 + i % 4 for i, label in enumerate(labels)]
    cases.append(case("dot, families", rows, labels, "dot", families=families))
    rows = rng.integers(0, 4, size=(50, 2)).astype(np.float32)
    labels = rng.integers(0, 7, size=50)
    cases.append(case("l2, families across classes, ties", rows, labels, "l2", families=rng.integers(0, 9, size=50)))
    return cases


def clusterings(rng):
    cases = []
    for n, classes, clusters in [(4, 2, 2), (30, 3, 5), (200, 10, 10), (500, 40, 25), (60, 60, 4), (25, 1, 6)]:
        truth = rng.integers(0, classes, size=n)
        for wrong in (0.0, 0.3, 1.0):
            found = np.where(rng.random(n) < wrong, rng.integers(0, clusters, size=n), truth * 7 % clusters)
            cases.append(
                {
                    "classes": truth.tolist(),
                    "clusters": found.tolist(),
                    "nmi": float(normalized_mutual_info_score(truth, found, average_method="arithmetic")),
                }
            )
    return cases


def read(name):
    return json.loads((OUT / f"{name}.json").read_text())["cases"]


def same(name, metric, committed, derived):
    if abs(committed - derived) >= 1e-9:
        sys.exit(f"{name}: {metric} is {committed} in the file and {derived} when derived again")


def check():
    """Every number once more, by each of its sources."""
    cases, by_reference = read("retrieval"), 0
    for made in cases:
        derived = naive(made)
        if torch is not None and "pytorch-metric-learning" in made["source"]:
            derived |= {f"{metric}, by reference": value for metric, value in reference(made).items()}
            by_reference += 1
        for metric, value in derived.items():
            same(made["name"], metric, made["want"][metric.split(",")[0]], value)
    clusterings = read("nmi")
    for made in clusterings:
        value = normalized_mutual_info_score(made["classes"], made["clusters"], average_method="arithmetic")
        same("nmi.json", "nmi", made["nmi"], float(value))
    print(f"metrics: {len(cases)} retrievals, {by_reference} of them by the reference too, {len(clusterings)} clusterings")
    if torch is None:
        print("NOT DERIVED AGAIN: retrieval metrics by pytorch-metric-learning, which is not installed")


def main():
    if sys.argv[1:] == ["--check"]:
        return check()
    if torch is None:
        sys.exit("writing metrics/ needs golden/requirements-torch.txt: pip install -r golden/requirements-torch.txt")
    versions = {
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "torch": torch.__version__.split("+")[0],
        "pytorch-metric-learning": pytorch_metric_learning.__version__,
    }
    rng = np.random.default_rng(20240917)
    OUT.mkdir(exist_ok=True)
    for name, cases in [("retrieval", retrieval(rng)), ("nmi", clusterings(rng))]:
        with open(OUT / f"{name}.json", "w") as file:
            lines = ",\n".join(json.dumps(made) for made in cases)
            file.write(f'{{"versions": {json.dumps(versions)}, "cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
