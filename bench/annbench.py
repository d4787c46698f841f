#!/usr/bin/env python3
"""Compares nearest-neighbour indexes on one machine, by turns.

    annbench.py run DATA.hdf5 --peers 'hnswlib:M=16' 'faiss:spec=IVF1024,Flat' --out RESULTS.jsonl
    annbench.py table RESULTS.jsonl [--mode batch1] [--targets 0.9 0.95 0.99]
    annbench.py plot RESULTS.jsonl --out CURVES.svg [--mode batch1]
    annbench.py curves RESULTS.jsonl --out CURVES.json --note TEXT

Each peer has a process of its own, so a crash costs one peer and its peak of memory is its own. All are built
first; then their settings are swept round by round, one peer after the other, so that noise meets all alike.
Every point has wall time and CPU time: on a machine with other work compare `qps_cpu`, queries a CPU second.
Modes: `single` is one query a call, `batch1` all queries in one call on one thread, `batch2` on two. Recall is
computed here from the ids that come back; ties with the k-th distance are right.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time

import numpy as np


def load(path, count):
    """Rows, queries, ids of the right answers, and their distances; angles become distances of unit vectors."""
    import h5py

    with h5py.File(path, "r") as file:
        rows, queries = file["train"][:], file["test"][:count]
        ids, distances = file["neighbors"][:count], file["distances"][:count]
        angular = str(file.attrs["distance"]) == "angular"
    if angular:
        rows, queries = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (rows, queries))
    return np.ascontiguousarray(rows, np.float32), np.ascontiguousarray(queries, np.float32), ids, distances


def recall(found, queries, rows, distances, k):
    """The share of the true k nearest that were found; an id that comes twice counts once."""
    right = 0
    for ids, query, limit in zip(found, queries, distances[:, k - 1] * (1 + 1e-5) + 1e-6):
        ids = np.unique(np.asarray(ids, np.int64)[:k])
        ids = ids[(ids >= 0) & (ids < len(rows))]
        right += min(k, int((np.sqrt(((rows[ids] - query) ** 2).sum(1)) <= limit).sum()))
    return right / (len(queries) * k)


def cpu():
    """CPU seconds of this process and of those it has waited for."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def external_usage(process):
    """CPU seconds and peak megabytes of a program that is still running."""
    try:
        fields = open(f"/proc/{process.pid}/stat").read().rsplit(") ", 1)[1].split()
        peak = [line for line in open(f"/proc/{process.pid}/status") if line.startswith("VmHWM")]
        ticks = os.sysconf("SC_CLK_TCK")
        return (int(fields[11]) + int(fields[12])) / ticks, int(peak[0].split()[1]) / 1024
    except OSError:
        return None


def ask(peer, mode, queries, k, singles):
    """Ids, queries asked, threads, wall and CPU seconds."""
    import peers

    external = isinstance(peer, peers.External)
    wall, start, threads = time.perf_counter(), cpu(), 1
    if mode == "single":
        queries = queries[:singles]
        ids = peer.query(queries, k, 1, single=True) if external else [peer.query1(query, k) for query in queries]
    else:
        threads = int(mode.removeprefix("batch"))
        ids = peer.query(queries, k, threads)
    wall, took = time.perf_counter() - wall, cpu() - start
    if external:  # it times its own search, without the files between us
        wall, took = peer.last["wall_s"], peer.last["cpu_s"]
    return ids, len(queries), threads, wall, max(took, 1e-9)


def worker(spec, data, count, k, threads):
    """Builds one peer, then answers a line of standard input after another."""
    import peers

    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints is talk
    name, _, arguments = spec.partition(":")
    arguments = dict(word.split("=", 1) for word in arguments.split(";") if word)
    rows, queries, _, distances = load(data, count)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peer = peers.PEERS[name](**arguments)
    wall, start = time.perf_counter(), cpu()
    peer.fit(rows, threads)
    built = {"build_wall_s": time.perf_counter() - wall, "build_cpu_s": cpu() - start, "rows": len(rows)}
    built["peak_mb_beside_rows"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    if name == "external":
        built["build_cpu_s"], built["peak_mb_beside_rows"] = external_usage(peer.process) or (None, None)
    total = peer.index_bytes()
    # What saves no rows does not say what it takes.
    built["bytes_a_vector"] = total / len(rows) if total and total > len(rows) else None
    out.write(json.dumps(built) + "\n")
    for line in sys.stdin:
        request, points = json.loads(line), []
        for params in request["params"] or peer.sweep():
            for mode in request["modes"]:
                if mode != "single" and not peer.batch:
                    continue
                try:
                    peer.set(**params)
                    ids, asked, threads_used, wall, took = ask(peer, mode, queries, k, request["singles"])
                    share = recall(ids, queries[:asked], rows, distances[:asked], k)
                    point = {"mode": mode, "params": params, "recall": share, "wall_s": wall, "cpu_s": took}
                    points.append({**point, "qps": asked / wall, "qps_cpu": asked * threads_used / took})
                except Exception as error:  # one setting that fails is one point less
                    points.append({"mode": "error", "params": params, "error": repr(error)[:300]})
        out.write(json.dumps(points) + "\n")


def emit(path, value):
    with open(path, "a") as file:
        file.write(json.dumps(value) + "\n")


def run(args):
    here = os.path.dirname(os.path.abspath(__file__))
    threads = str(args.threads)
    quiet = {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment = dict(os.environ, OMP_NUM_THREADS=threads, OPENBLAS_NUM_THREADS=threads, **quiet)
    data, live = os.path.abspath(args.data), []
    for spec in args.peers:
        words = [sys.executable, os.path.abspath(__file__), "worker", spec, data]
        words += [str(args.queries), str(args.k), threads]
        with open(args.out + ".log", "a") as log:
            pipe = subprocess.PIPE
            process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=log, text=True, env=environment, cwd=here)
        line = process.stdout.readline()
        row = {"peer": spec, "data": os.path.basename(data), "k": args.k, "when": time.strftime("%F %T")}
        row["load"] = os.getloadavg()[0]
        if not line:
            emit(args.out, {**row, "kind": "failed", "rc": process.wait()})
            print("failed:", spec, "; see", args.out + ".log", flush=True)
            continue
        built = json.loads(line)
        emit(args.out, {**row, "kind": "build", **built})
        print(f"built {spec}: {built['build_cpu_s']:.0f} CPU s, {built['bytes_a_vector']} bytes a vector", flush=True)
        live.append((spec, process))
    for turn in range(args.rounds):
        for spec, process in list(live):
            params = json.loads(args.params) if args.params else None
            request = {"modes": args.modes, "params": params, "singles": args.singles}
            try:
                process.stdin.write(json.dumps(request) + "\n")
                process.stdin.flush()
                line = process.stdout.readline()
            except BrokenPipeError:
                line = ""
            if not line:
                live.remove((spec, process))
                emit(args.out, {"peer": spec, "kind": "failed", "round": turn, "rc": process.wait()})
                print("died:", spec, flush=True)
                continue
            for point in json.loads(line):
                about = {"peer": spec, "data": os.path.basename(data), "k": args.k, "round": turn}
                emit(args.out, {**about, "kind": "query", "load": os.getloadavg()[0], **point})
        print("round", turn + 1, "of", args.rounds, "done, load", os.getloadavg()[0], flush=True)
    for _, process in live:
        process.stdin.close()
        process.wait()


def label(spec):
    """A peer as tables and plots call it: ours by its spec."""
    return "deepembed " + spec.partition("--spec ")[2].split(" ")[0] if spec.startswith("external") else spec


def points(paths, mode, field):
    """The Pareto points of each peer, `(recall, median rate, params)`, by rising recall."""
    seen = {}
    for path in paths:
        for line in open(path):
            row = json.loads(line)
            if row.get("kind") == "query" and row["mode"] == mode:
                each = seen.setdefault(label(row["peer"]), {})
                each.setdefault(json.dumps(row["params"], sort_keys=True), []).append((row["recall"], row[field]))
    out = {}
    for peer, by_params in seen.items():
        medians = [
            (float(np.median([r for r, _ in rounds])), float(np.median([q for _, q in rounds])), json.loads(params))
            for params, rounds in by_params.items()
        ]
        best, kept = 0.0, []
        for point in sorted(medians, key=lambda point: (-point[0], -point[1])):
            if point[1] > best:
                best = point[1]
                kept.append(point)
        out[peer] = kept[::-1]
    return out


def at(curve, target):
    """The rate at a recall, between the two points around it on a logarithmic scale; none where it is not reached."""
    below = [point for point in curve if point[0] < target]
    beyond = [point for point in curve if point[0] >= target]
    if not beyond:
        return None
    right = max(beyond, key=lambda point: point[1])
    if not below:
        return right[1]
    left = max(below, key=lambda point: point[0])
    share = (target - left[0]) / max(right[0] - left[0], 1e-12)
    return float(np.exp(np.log(left[1]) * (1 - share) + np.log(right[1]) * share))


def builds(paths):
    rows = (json.loads(line) for path in paths for line in open(path))
    return {label(row["peer"]): row for row in rows if row.get("kind") == "build"}


def table(args):
    number = lambda value: "-" if value is None else f"{value:,.0f}"
    heads = ["peer", "build, CPU s", "bytes a vector"] + [f"at {target}" for target in args.targets] + ["most recall"]
    print("| " + " | ".join(heads) + " |")
    print("|" + "---|" * len(heads))
    curves, built = points(args.files, args.mode, args.field), builds(args.files)
    middle = args.targets[len(args.targets) // 2]
    for peer in sorted(curves, key=lambda peer: -(at(curves[peer], middle) or 0)):
        about = built.get(peer, {})
        cells = [f"`{peer}`", number(about.get("build_cpu_s")), number(about.get("bytes_a_vector"))]
        cells += [number(at(curves[peer], target)) for target in args.targets]
        print("| " + " | ".join(cells + [f"{max(point[0] for point in curves[peer]):.4f}"]) + " |")


def curves(args):
    """Writes the Pareto points of all modes with what is needed to repeat them."""
    made = {mode: points(args.files, mode, args.field) for mode in ("single", "batch1", "batch2")}
    kept = {
        mode: {
            peer: [{"recall": round(r, 4), args.field: round(q), "params": params} for r, q, params in curve]
            for peer, curve in by_peer.items()
        }
        for mode, by_peer in made.items()
        if by_peer
    }
    fields = ("when", "load", "build_cpu_s", "build_wall_s", "bytes_a_vector", "peak_mb_beside_rows")
    about = {peer: {field: row.get(field) for field in fields} for peer, row in builds(args.files).items()}
    with open(args.out, "w") as file:
        json.dump({"note": args.note, "builds": about, "curves": kept}, file, indent=1)
        file.write("\n")


def plot(args):
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.hashsalt": "curves", "svg.fonttype": "none"})
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(10, 6.5))
    made = points(args.files, args.mode, args.field)
    for i, peer in enumerate(sorted(made, key=lambda peer: -(at(made[peer], 0.95) or 0))):
        ours = peer.startswith("deepembed")
        style = {"linewidth": 2.2, "linestyle": "-"} if ours else {"linewidth": 1.1, "linestyle": "--"}
        recalls, rates = [point[0] for point in made[peer]], [point[1] for point in made[peer]]
        axes.plot(recalls, rates, marker="osD^v<>*PX"[i % 10], color=plt.cm.tab20(i % 20), markersize=4, label=peer, **style)
    axes.set_yscale("log")
    axes.set_xlim(args.least, 1.002)
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8)
    axes.set_xlabel("recall@10")
    axes.set_ylabel(f"queries a CPU second, {args.mode}" if args.field == "qps_cpu" else f"queries a second, {args.mode}")
    axes.set_title(args.title or ", ".join(os.path.basename(path) for path in args.files), fontsize=10)
    figure.tight_layout()
    figure.savefig(args.out, metadata={"Date": None} if args.out.endswith("svg") else None)


def main():
    if sys.argv[1:2] == ["worker"]:
        spec, data, count, k, threads = sys.argv[2:]
        return worker(spec, data, int(count), int(k), int(threads))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("run")
    command.add_argument("data")
    command.add_argument("--peers", nargs="+", required=True)
    command.add_argument("--out", required=True)
    command.add_argument("--queries", type=int, default=2000)
    command.add_argument("--singles", type=int, default=1000)
    command.add_argument("--k", type=int, default=10)
    command.add_argument("--rounds", type=int, default=3)
    command.add_argument("--threads", type=int, default=2, help="threads that build")
    command.add_argument("--modes", nargs="+", default=["single", "batch1"])
    command.add_argument("--params", help="JSON list of settings in place of each peer's own sweep")
    for name in ("table", "plot", "curves"):
        command = commands.add_parser(name)
        command.add_argument("files", nargs="+")
        command.add_argument("--field", default="qps_cpu", choices=["qps", "qps_cpu"])
        if name != "curves":
            command.add_argument("--mode", default="batch1")
        if name == "table":
            command.add_argument("--targets", nargs="+", type=float, default=[0.9, 0.95, 0.99])
        else:
            command.add_argument("--out", required=True)
        if name == "plot":
            command.add_argument("--least", type=float, default=0.8)
            command.add_argument("--title")
        if name == "curves":
            command.add_argument("--note", required=True)
    args = parser.parse_args()
    {"run": run, "table": table, "plot": plot, "curves": curves}[args.command](args)


if __name__ == "__main__":
    main()
