"""Writes golden/protocols/*.json, which crates/eval/tests/protocols.rs compares with.

    python3 golden/protocols.py            writes them
    python3 golden/protocols.py --check    derives every number again from the inputs in the files, and compares

Needs numpy and scikit-learn. Sources that share no code with ours:
- adjusted mutual information, and F1 of pairs from `pair_confusion_matrix`: scikit-learn;
- re-identification: arrays sorted stably and masked, as torchreid does, and the Matlab walk over the list;
- ten-fold accuracy over facenet's grid of thresholds: every threshold tried on every fold;
- person search: scikit-learn's average precision times the share of boxes found.
"""

import json
import sys
from pathlib import Path

import numpy as np
import sklearn
from sklearn.metrics import adjusted_mutual_info_score, average_precision_score
from sklearn.metrics.cluster import pair_confusion_matrix

OUT = Path(__file__).parent / "protocols"


def clustering(case):
    classes, clusters = case["classes"], case["clusters"]
    table = pair_confusion_matrix(classes, clusters)
    both, only_cluster, only_class = int(table[1, 1]), int(table[0, 1]), int(table[1, 0])
    either = 2 * both + only_cluster + only_class
    return {
        "ami": float(adjusted_mutual_info_score(classes, clusters)),
        "pair_f1": 1.0 if either == 0 else 2 * both / either,
    }


def walk(right):
    """Area under the precision, place by place, as the Matlab scripts have it."""
    area, recall, precision, hits = 0.0, 0.0, 1.0, 0
    for place, is_right in enumerate(right):
        hits += bool(is_right)
        now_recall, now_precision = hits / sum(right), hits / (place + 1)
        area += (now_recall - recall) * (precision + now_precision) / 2
        recall, precision = now_recall, now_precision
    return area


def re_id(case):
    values = np.array(case["rows"]).reshape(-1, case["dim"])
    ids, cameras = np.array(case["ids"]), np.array(case["cameras"])
    gallery = np.array(sorted(case["gallery"]))
    first, standard, matlab = [], [], []
    for query in case["queries"]:
        distance = ((values[gallery] - values[query]) ** 2).sum(1)
        order = gallery[np.argsort(distance, kind="stable")]
        own = (ids[order] == ids[query]) & (cameras[order] == cameras[query])
        right = (ids[order] == ids[query])[~own & (ids[order] != -1)]
        if not right.any():
            continue
        first.append(int(np.argmax(right)))
        precision = np.cumsum(right) / np.arange(1, len(right) + 1)
        standard.append(float((precision * right).sum() / right.sum()))
        matlab.append(walk(right.tolist()))
    return {
        "queries": len(first),
        "cmc@1": float(np.mean([place < 1 for place in first])),
        "cmc@5": float(np.mean([place < 5 for place in first])),
        "map": float(np.mean(standard)),
        "matlab_map": float(np.mean(matlab)),
    }


def verification(case):
    distance = np.array(case["distances"], dtype=np.float32).astype(np.float64)
    genuine, fold = np.array(case["genuine"]), np.array(case["folds"])
    accuracies = []
    for held in range(fold.max() + 1):
        best = (-1.0, 0.0)
        for threshold in np.arange(400) * 0.01:
            right = ((distance < threshold) == genuine)[fold != held].mean()
            if right > best[0]:
                best = (right, threshold)
        accuracies.append(float(((distance < best[1]) == genuine)[fold == held].mean()))
    return {"folds": accuracies}


def overlap(a, b):
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    area = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return width * height / (sum(area) - width * height)


def person_search(case):
    rows = np.array(case["rows"]).reshape(-1, case["dim"])
    starts = [0, *case["ends"]]
    scores, tops, dropped = [], [], 0
    for probe in case["probes"]:
        vector, marks, similarities, shown = np.array(probe["row"]), [], [], 0
        for frame, truth in probe["gallery"]:
            inside = [i for i in range(starts[frame], starts[frame + 1]) if case["scores"][i] >= 0.5]
            similarity = {i: float(rows[i] @ vector) for i in inside}
            ranked = sorted(inside, key=lambda i: (-similarity[i], i))
            hits = []
            if truth is not None:
                shown += 1
                width, height = truth[2] - truth[0], truth[3] - truth[1]
                needed = min(0.5, width * height / ((width + 10) * (height + 10)))
                hits = [i for i in ranked if overlap(case["boxes"][i], truth) >= needed][:1]
            marks += [i in hits for i in ranked]
            similarities += [similarity[i] for i in ranked]
        if shown == 0:
            dropped += 1
            continue
        found = sum(marks)
        scores.append(average_precision_score(marks, similarities) * found / shown if found else 0.0)
        order = np.argsort(-np.array(similarities), kind="stable")
        tops.append(any(np.array(marks, dtype=bool)[order][:1]))
    return {"map": float(np.mean(scores)), "cmc@1": float(np.mean(tops)), "dropped_queries": dropped}


DERIVE = {"clustering": clustering, "re_id": re_id, "verification": verification, "person_search": person_search}


def made_clusterings(rng):
    for n, classes, clusters in [(4, 2, 2), (30, 3, 5), (200, 10, 10), (500, 40, 25), (60, 60, 4), (25, 1, 6), (9, 9, 9)]:
        truth = rng.integers(0, classes, size=n)
        for wrong in (0.0, 0.3, 1.0):
            found = np.where(rng.random(n) < wrong, rng.integers(0, clusters, size=n), truth * 7 % clusters)
            yield {"classes": truth.tolist(), "clusters": found.tolist()}


def made_re_ids(rng):
    # Whole numbers: exact in f32 and often equal. Ids above 6 have one picture each.
    for span in (2, 5, 40):
        n = 70
        ids = np.where(rng.random(n) < 0.2, rng.integers(-1, 1, size=n), rng.integers(1, 9, size=n))
        ids[:3] = [20, 21, 1]
        queries = [0, 1, 2] + [i for i in range(3, 30) if ids[i] > 0]
        yield {
            "dim": 2,
            "rows": rng.integers(0, span, size=2 * n).tolist(),
            "ids": ids.tolist(),
            "cameras": rng.integers(1, 4, size=n).tolist(),
            "queries": queries,
            "gallery": list(range(n - 1, 29, -1)),
        }


def made_verifications(rng):
    for noise, folds in ((0.3, 10), (1.0, 10), (0.6, 3)):
        genuine = rng.random(200) < 0.5
        distances = np.clip(np.where(genuine, 0.8, 1.6) + noise * rng.normal(size=200), 0, 4)
        yield {
            "distances": [float(np.float32(round(d, 2))) for d in distances],
            "genuine": genuine.tolist(),
            "folds": [i % folds for i in range(200)],
        }


def made_searches(rng):
    for span in (3, 30):
        counts = rng.integers(0, 5, size=12)
        ends = np.cumsum(counts).tolist()
        boxes = []
        for _ in range(ends[-1]):
            left, top = rng.integers(0, 60, size=2).tolist()
            boxes.append([left, top, left + int(rng.integers(20, 60)), top + int(rng.integers(20, 60))])
        probes = []
        for person in range(6):
            gallery = []
            for frame in range(1, 12):
                inside = list(range(ends[frame - 1], ends[frame]))
                truth = [boxes[inside[0]][0] + 4, *boxes[inside[0]][1:]] if inside else [0, 0, 30, 30]
                gallery.append([frame, truth if rng.random() < 0.5 and person else None])
            probes.append({"row": rng.integers(-span, span, size=2).tolist(), "person": person, "gallery": gallery})
        yield {
            "dim": 2,
            "rows": rng.integers(-span, span, size=2 * ends[-1]).tolist(),
            "boxes": boxes,
            "scores": rng.choice([0.25, 0.5, 0.75], size=ends[-1]).tolist(),
            "ends": ends,
            "probes": probes,
        }


def read(name):
    return json.loads((OUT / f"{name}.json").read_text())["cases"]


def same(where, committed, derived):
    if isinstance(committed, dict):
        for key, value in committed.items():
            same(f"{where}, {key}", value, derived[key])
    elif np.abs(np.array(committed, dtype=float) - np.array(derived, dtype=float)).max() >= 1e-9:
        sys.exit(f"{where} is {committed} in the file and {derived} when derived again")


def main():
    if sys.argv[1:] == ["--check"]:
        for name, derive in DERIVE.items():
            for number, case in enumerate(read(name)):
                same(f"{name}.json, case {number}", case["want"], derive(case))
        return print(f"protocols: {sum(len(read(name)) for name in DERIVE)} cases")
    rng = np.random.default_rng(20250311)
    made = {
        "clustering": made_clusterings(rng),
        "re_id": made_re_ids(rng),
        "verification": made_verifications(rng),
        "person_search": made_searches(rng),
    }
    versions = {"numpy": np.__version__, "scikit-learn": sklearn.__version__}
    OUT.mkdir(exist_ok=True)
    for name, cases in made.items():
        lines = ",\n".join(json.dumps({**case, "want": DERIVE[name](case)}) for case in cases)
        (OUT / f"{name}.json").write_text(f'{{"versions": {json.dumps(versions)}, "cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
