"""Answers requests for faiss, one JSON object a line on standard input, one a line on standard output.

Every answer has `cpu_s`, the CPU seconds of the work alone. Needs numpy and faiss-cpu.
"""

import json
import sys
import time

import faiss
import numpy as np


def fvecs(path):
    words = np.memmap(path, np.int32, "r")
    return words.reshape(-1, words[0] + 1)[:, 1:].view(np.float32)


class Peer:
    def load(self, base, queries, first, train, threads):
        faiss.omp_set_num_threads(threads)
        rows = fvecs(base)
        self.base = np.ascontiguousarray(rows[: min(first, len(rows))])
        self.queries = np.ascontiguousarray(fvecs(queries))
        # The rule of the other side: every step-th vector.
        self.step = max(len(self.base) // train, 1)
        self.sample = np.ascontiguousarray(self.base[:: self.step][:train])
        return {}

    def train(self, spec, seed):
        spec, _, gate = spec.partition("ht")
        self.index = faiss.index_factory(self.base.shape[1], spec)
        inner = faiss.downcast_index(getattr(self.index, "index", self.index))
        if hasattr(inner, "pq"):
            inner.pq.cp.seed = seed
        if gate:
            inner.do_polysemous_training = True
        start = time.process_time()
        self.index.train(self.sample)
        seconds = time.process_time() - start
        if gate:
            faiss.ParameterSpace().set_index_parameter(self.index, "ht", int(gate))
        return {"cpu_s": seconds}

    def encode(self, rows):
        start = time.process_time()
        self.index.add(self.base)
        seconds = time.process_time() - start
        try:
            picked = np.asarray(rows, np.int64)
            decoded = self.index.reconstruct_batch(picked)
            error = float(((decoded - self.base[picked]) ** 2).sum(1).mean())
        except RuntimeError:  # Not every index decodes.
            error = None
        return {"cpu_s": seconds, "error": error}

    def search(self, k, out):
        start = time.process_time()
        _, ids = self.index.search(self.queries, k)
        seconds = time.process_time() - start
        self.write(ids, out)
        return {"cpu_s": seconds}

    def kmeans(self, cells, rounds, seed):
        settings = dict(niter=rounds, seed=seed, max_points_per_centroid=len(self.base), min_points_per_centroid=1)
        means = faiss.Kmeans(self.base.shape[1], cells, **settings)
        start = time.process_time()
        means.train(self.base)
        seconds = time.process_time() - start
        quantizer = faiss.IndexFlatL2(self.base.shape[1])
        quantizer.add(means.centroids)
        distances, _ = quantizer.search(self.base, 1)
        return {"cpu_s": seconds, "error": float(distances.mean(dtype=np.float64))}

    def hamming(self, codes, queries, bytes, k, out):
        codes, queries = (np.fromfile(path, np.uint8).reshape(-1, bytes) for path in (codes, queries))
        self.index = faiss.IndexBinaryFlat(bytes * 8)
        self.index.add(codes)
        start = time.process_time()
        _, ids = self.index.search(queries, k)
        seconds = time.process_time() - start
        self.write(ids, out)
        return {"cpu_s": seconds}

    @staticmethod
    def write(ids, out):
        words = np.empty((len(ids), ids.shape[1] + 1), np.int32)
        words[:, 0] = ids.shape[1]
        words[:, 1:] = ids
        words.tofile(out)


peer = Peer()
print(json.dumps({"name": f"faiss {faiss.__version__}"}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    print(json.dumps(getattr(peer, request.pop("do"))(**request)), flush=True)
