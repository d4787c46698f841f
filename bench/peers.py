"""Other libraries behind one small interface: one class a library.

`fit(rows, threads)` builds; `set(**params)` turns the knobs of a search; `query(queries, k, threads)` answers a
batch and `query1(query, k)` one query, both with ids; `sweep()` lists the settings that are tried; `index_bytes()`
is the size of what the library saves. Constructor arguments come as text from the command line
(`hnswlib:M=16;efc=200`). Rows are float32 and compared by squared Euclidean distance.
"""

import json
import os
import shutil
import subprocess
import tempfile

import numpy as np

WIDTHS = [10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 400]
LISTS = [1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256]


class Peer:
    """Defaults: one knob, the width of a graph search."""

    batch = True
    widths = WIDTHS

    def set(self, ef):
        self.ef = ef

    def sweep(self):
        return [{"ef": ef} for ef in self.widths]

    def query1(self, query, k):
        return self.query(query[None], k, 1)[0]

    def index_bytes(self):
        return None


def size_of(path):
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(os.path.getsize(os.path.join(folder, f)) for folder, _, files in os.walk(path) for f in files)


def saved(save):
    """Bytes of what `save(path)` writes."""
    folder = tempfile.mkdtemp(dir=os.environ.get("ANN_TMP"))
    try:
        save(os.path.join(folder, "index"))
        return size_of(folder)
    finally:
        shutil.rmtree(folder)


class Hnswlib(Peer):
    def __init__(self, M=16, efc=200):
        self.M, self.efc = int(M), int(efc)

    def fit(self, rows, threads):
        import hnswlib

        self.index = hnswlib.Index("l2", rows.shape[1])
        self.index.init_index(len(rows), M=self.M, ef_construction=self.efc)
        self.index.add_items(rows, num_threads=threads)

    def set(self, ef):
        self.index.set_ef(ef)

    def query(self, queries, k, threads):
        return self.index.knn_query(queries, k, num_threads=threads)[0]

    def index_bytes(self):
        return saved(self.index.save_index)


class Faiss(Peer):
    """`spec` is faiss's factory string, `key` the swept parameter, `rf` values of the refine stage's factor."""

    def __init__(self, spec, key=None, ntrain=0, efc=0, rf=""):
        self.spec, self.ntrain, self.efc = spec, int(ntrain), int(efc)
        head = spec.split(",")[0]
        if key is None and "HNSW" in head and "IVF" not in spec:
            key = "efSearch"
        elif key is None and "NSG" in spec:
            key = "search_L"
        elif key is None and ("IVF" in spec or "IMI" in spec):
            key = "nprobe"
        self.key = key
        self.rf = [int(value) for value in str(rf).split(",") if value]

    def fit(self, rows, threads):
        import faiss

        self.faiss = faiss
        faiss.omp_set_num_threads(threads)
        self.index = faiss.index_factory(rows.shape[1], self.spec)
        inner = faiss.downcast_index(self.index)
        if self.efc and hasattr(inner, "hnsw"):
            inner.hnsw.efConstruction = self.efc
        if "NSG" in self.spec:
            inner.build_type, inner.GK = int(len(rows) > 200_000), 64
        sample = rows
        if self.ntrain and len(rows) > self.ntrain:
            sample = rows[np.random.RandomState(1).choice(len(rows), self.ntrain, False)]
        self.index.train(sample)
        self.index.add(rows)
        self.space = faiss.ParameterSpace()

    def sweep(self):
        if not self.key:
            return [{}]
        values = LISTS if self.key == "nprobe" else WIDTHS
        factors = [{"k_factor_rf": factor} for factor in self.rf] or [{}]
        return [{self.key: value, **factor} for factor in factors for value in values]

    def set(self, **params):
        for key, value in params.items():
            if key == "search_L":
                self.faiss.downcast_index(self.index).nsg.search_L = value
            else:
                self.space.set_index_parameter(self.index, key, value)

    def query(self, queries, k, threads):
        self.faiss.omp_set_num_threads(threads)
        return self.index.search(queries, k)[1]

    def index_bytes(self):
        return saved(lambda path: self.faiss.write_index(self.index, path))


class Usearch(Peer):
    def __init__(self, M=16, efc=200, dtype="f32"):
        self.M, self.efc, self.dtype = int(M), int(efc), dtype

    def fit(self, rows, threads):
        from usearch.index import Index

        self.index = Index(
            ndim=rows.shape[1], metric="l2sq", dtype=self.dtype, connectivity=self.M, expansion_add=self.efc
        )
        self.index.add(np.arange(len(rows)), rows, threads=threads)

    def set(self, ef):
        self.index.expansion_search = ef

    def query(self, queries, k, threads):
        return self.index.search(queries, k, threads=threads).keys

    def query1(self, query, k):
        return self.index.search(query, k, threads=1).keys

    def index_bytes(self):
        return saved(self.index.save)


class Glass(Peer):
    def __init__(self, type="HNSW", R=32, L=200, build="SQ8U", quant="SQ8U", refine=""):
        self.settings = type, int(R), int(L), build, quant, refine

    def fit(self, rows, threads):
        import glass

        kind, R, L, build, quant, refine = self.settings
        glass.set_num_threads(threads)
        self.graph = glass.Index(kind, "L2", build, R, L).build(rows)
        self.searcher = glass.Searcher(self.graph, rows, "L2", quant, refine)
        self.searcher.optimize(1)

    def set(self, ef):
        self.searcher.set_ef(ef)

    def query(self, queries, k, threads):
        found = self.searcher.batch_search(queries, k, threads)
        return np.asarray(found[0] if isinstance(found, tuple) else found).reshape(len(queries), -1)

    def query1(self, query, k):
        found = self.searcher.search(query, k)
        return found[0] if isinstance(found, tuple) else found

    def index_bytes(self):
        return saved(self.graph.save)


def clusters(rows, count):
    """Centroids, and the cell of each row."""
    import faiss

    kmeans = faiss.Kmeans(rows.shape[1], count, niter=10, max_points_per_centroid=64)
    kmeans.train(rows)
    return kmeans.centroids, kmeans.index.search(rows, 1)[1].ravel().astype(np.uint32)


class SymphonyQg(Peer):
    def __init__(self, R=32, efc=200):
        self.R, self.efc = int(R), int(efc)

    def fit(self, rows, threads):
        import rabitqlib

        self.index = rabitqlib.SymqgIndex(rows.shape[1], self.R, quantization_bits=0)
        self.index.build(rows, ef_construction=self.efc, num_threads=threads)

    def query(self, queries, k, threads):
        return self.index.search(queries, k, self.ef, num_threads=threads)[0]

    def index_bytes(self):
        return saved(self.index.save)


class RabitqIvf(Peer):
    widths = LISTS[1:]

    def __init__(self, nlist=4096, bits=8):
        self.nlist, self.bits = int(nlist), int(bits)

    def fit(self, rows, threads):
        import rabitqlib

        centroids, cells = clusters(rows, self.nlist)
        self.index = rabitqlib.IvfIndex(rows.shape[1], len(rows), self.nlist, self.bits)
        self.index.build(rows, centroids, cells, num_threads=threads, fast_quantization=True)

    def query(self, queries, k, threads):
        return self.index.search(queries, k, self.ef, num_threads=threads)[0]

    def index_bytes(self):
        return saved(self.index.save)


class RabitqHnsw(Peer):
    def __init__(self, M=16, efc=200, bits=5, cells=16):
        self.settings = int(M), int(efc), int(bits), int(cells)

    def fit(self, rows, threads):
        import rabitqlib

        M, efc, bits, count = self.settings
        centroids, cells = clusters(rows, count)
        self.index = rabitqlib.HnswIndex(rows.shape[1], len(rows), M, efc, bits)
        self.index.build(rows, centroids, cells, num_threads=threads, fast_quantization=True)

    def query(self, queries, k, threads):
        return self.index.search(queries, k, self.ef, num_threads=threads)[0]

    def index_bytes(self):
        return saved(self.index.save)


class Vsag(Peer):
    batch = False  # its Python search takes one query a call

    def __init__(self, R=32, efc=200, base="sq8_uniform", precise="fp32"):
        self.settings = int(R), int(efc), base, precise

    def fit(self, rows, threads):
        import pyvsag

        R, efc, base, precise = self.settings
        inner = {
            "base_quantization_type": base,
            "max_degree": R,
            "ef_construction": efc,
            "build_thread_count": threads,
        }
        if base != "fp32":
            inner.update(use_reorder=True, precise_quantization_type=precise)
        outer = {"dtype": "float32", "metric_type": "l2", "dim": rows.shape[1], "index_param": inner}
        self.index = pyvsag.Index("hgraph", json.dumps(outer))
        ids = np.arange(len(rows), dtype=np.int64)
        self.index.build(vectors=rows.ravel(), ids=ids, num_elements=len(rows), dim=rows.shape[1])

    def set(self, ef):
        self.params = json.dumps({"hgraph": {"ef_search": ef}})

    def query1(self, query, k):
        return self.index.knn_search(vector=query, k=k, parameters=self.params)[0]

    def index_bytes(self):
        return saved(self.index.save)


class Scann(Peer):
    def __init__(self, leaves=2000, dims=2, threshold=0.2):
        self.settings = int(leaves), int(dims), float(threshold)

    def fit(self, rows, threads):
        import scann

        leaves, dims, threshold = self.settings
        builder = scann.scann_ops_pybind.builder(rows, 10, "squared_l2")
        builder = builder.tree(leaves, 1, training_sample_size=min(len(rows), 250_000))
        builder = builder.score_ah(dims, anisotropic_quantization_threshold=threshold).reorder(100)
        builder.set_n_training_threads(threads)
        self.index = builder.build()

    def sweep(self):
        ranked = [30, 30, 40, 50, 50, 60, 70, 80, 100, 120, 150, 200, 250]
        return [{"leaves": leaves, "reorder": r} for leaves, r in zip(LISTS[1:], ranked)]

    def set(self, leaves, reorder):
        self.leaves, self.reorder = leaves, reorder

    def query(self, queries, k, threads):
        if threads == 1:
            return self.index.search_batched(queries, k, self.reorder, self.leaves)[0]
        self.index.set_num_threads(threads)
        size = max(1, len(queries) // threads)
        return self.index.search_batched_parallel(queries, k, self.reorder, self.leaves, batch_size=size)[0]

    def query1(self, query, k):
        return self.index.search(query, k, self.reorder, self.leaves)[0]

    def index_bytes(self):
        return saved(lambda path: (os.makedirs(path), self.index.serialize(path)))


class DiskAnn(Peer):
    """Microsoft's DiskANN in Rust, in memory."""

    def __init__(self, R=32, L=75, alpha=1.2):
        self.settings = int(R), int(L), float(alpha)

    def fit(self, rows, threads):
        import diskannpy

        R, L, alpha = self.settings
        self.folder = tempfile.mkdtemp(dir=os.environ.get("ANN_TMP"))
        diskannpy.build_async_index(
            rows, "l2", self.folder, L, R, 1, threads, 1.3, 48, threads, 1, 128, alpha=alpha, index_prefix="ann"
        )
        self.index = diskannpy.AsyncDiskIndex(
            self.folder,
            num_threads=threads,
            r=R,
            l=L,
            alpha=alpha,
            index_prefix="ann",
            distance_metric="l2",
            vector_dtype=np.float32,
            dimensions=rows.shape[1],
            max_points=len(rows),
        )

    def query(self, queries, k, threads):
        found = self.index.batch_search(queries, k, max(self.ef, k), threads).identifiers
        return np.asarray(found).reshape(len(queries), -1).astype(np.int64)

    def query1(self, query, k):
        return self.index.search(query, k, max(self.ef, k)).identifiers

    def index_bytes(self):
        return size_of(self.folder)


class Nndescent(Peer):
    def __init__(self, k=30, prune=1.5):
        self.k, self.prune = int(k), float(prune)

    def fit(self, rows, threads):
        from pynndescent import NNDescent

        self.index = NNDescent(
            rows, n_neighbors=self.k, pruning_degree_multiplier=self.prune, n_jobs=threads, low_memory=True
        )
        self.index.prepare()

    def sweep(self):
        return [{"eps": eps} for eps in (0.0, 0.04, 0.08, 0.12, 0.16, 0.2, 0.26, 0.32, 0.4)]

    def set(self, eps):
        self.eps = eps

    def query(self, queries, k, threads):
        return self.index.query(queries, k, epsilon=self.eps)[0]


class External(Peer):
    """Another program, `cmd` and its arguments, which speaks the protocol of README.md."""

    def __init__(self, cmd):
        self.cmd = cmd.split()

    def fit(self, rows, threads):
        self.folder = tempfile.mkdtemp(dir=os.environ.get("ANN_TMP"))
        base = os.path.join(self.folder, "base.fvecs")
        write_fvecs(base, rows)
        words = self.cmd + ["--base", base, "--threads", str(threads)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.info = json.loads(self.process.stdout.readline())
        os.remove(base)

    def sweep(self):
        return self.info["sweep"]

    def set(self, **params):
        self.params = params

    def query(self, queries, k, threads, single=False):
        asked, out = os.path.join(self.folder, "query.fvecs"), os.path.join(self.folder, "out.ivecs")
        write_fvecs(asked, queries)
        request = {"query": asked, "k": k, "threads": threads, "single": single, "params": self.params, "out": out}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        self.last = json.loads(self.process.stdout.readline())
        return read_ivecs(out)

    def index_bytes(self):
        return self.info.get("bytes")


def write_fvecs(path, rows):
    out = np.empty((len(rows), rows.shape[1] + 1), np.int32)
    out[:, 0], out[:, 1:] = rows.shape[1], rows.view(np.int32)
    out.tofile(path)


def read_ivecs(path):
    words = np.fromfile(path, np.int32)
    return words.reshape(-1, words[0] + 1)[:, 1:]


PEERS = {
    "diskann": DiskAnn,
    "external": External,
    "faiss": Faiss,
    "glass": Glass,
    "hnswlib": Hnswlib,
    "nndescent": Nndescent,
    "rabitqhnsw": RabitqHnsw,
    "rabitqivf": RabitqIvf,
    "scann": Scann,
    "symqg": SymphonyQg,
    "usearch": Usearch,
    "vsag": Vsag,
}
