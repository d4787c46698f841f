"""Writes golden/vectors/*: small files of vectors in every format, and vectors.json with the values in them.

    python3 golden/vectors.py            writes all; needs numpy, h5py, pyarrow and safetensors
    python3 golden/vectors.py --check    reads every file with those libraries again and compares with the values

crates/data/tests/vectors_golden.rs reads the same files. Each entry of vectors.json names a file, the part in it
(HDF5's data set, safetensors' tensor, Arrow's column), the kind of value, the shape and all values.
"""

import json
import struct
import sys
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import safetensors.numpy

OUT = Path(__file__).parent / "vectors"
NAMES = {"f2": "f16", "f4": "f32", "f8": "f64", "u1": "u8", "i1": "i8", "i4": "i32", "u4": "u32", "i8": "i64"}
RECORDS = {"fvecs": "<f4", "ivecs": "<i4", "bvecs": "u1"}
HEADED = {"fbin": "<f4", "u8bin": "u1", "i8bin": "i1", "ibin": "<i4"}


def matrix(rows, dim, kind):
    """A formula instead of chance: the same on every machine, whole and negative numbers and the ends of the range."""
    kind = np.dtype(kind)
    steps = (np.arange(rows * dim, dtype=np.int64).reshape(rows, dim) * 37 + 11) % 251
    if kind.kind == "f":
        values = (steps - 125) / 8
        values[0, 0] = np.finfo(kind).max
        return values.astype(kind)
    info = np.iinfo(kind)
    values = steps.astype(kind) if info.min == 0 else (steps - 125).astype(kind)
    values[0, 0], values[-1, -1] = info.min, info.max
    return values


def write_records(path, values):
    with open(path, "wb") as file:
        for row in values:
            file.write(struct.pack("<i", len(row)) + row.tobytes())


def read_records(path):
    kind = np.dtype(RECORDS[path.suffix[1:]])
    data = path.read_bytes()
    (dim,) = struct.unpack_from("<i", data)
    record = np.dtype([("dim", "<i4"), ("values", kind, (dim,))])
    return np.frombuffer(data, record)["values"]


def read_headed(path):
    data = path.read_bytes()
    rows, dim = struct.unpack_from("<II", data)
    return np.frombuffer(data, HEADED[path.suffix[1:]], offset=8).reshape(rows, dim)


def lists(values, fixed, large=False):
    """A column of vectors, one list a row."""
    flat = pa.array(values.ravel())
    if fixed:
        return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    ends = np.arange(0, values.size + 1, values.shape[1])
    if large:
        return pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), flat)
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), flat)


def table(values, **how):
    """Vectors between two other columns, so that finding them means something."""
    names = pa.array([f"row {i}" for i in range(len(values))])
    return pa.table({"name": names, "vectors": lists(values, **how), "label": pa.array(range(len(values)))})


def unlist(column):
    return np.stack([np.asarray(row.values) for row in column])


def write_hdf5():
    base, queries = matrix(300, 5, "<f4"), matrix(7, 5, "<f4")
    near, far = matrix(7, 4, "u1"), matrix(7, 4, "<f4")
    with h5py.File(OUT / "ann.hdf5", "w") as file:
        file.attrs["type"] = "dense"
        file.attrs["distance"] = "euclidean"
        file.attrs["dimension"] = 5
        file.attrs["point_type"] = "float"
        file.create_dataset("train", data=base)
        file.create_dataset("test", data=queries)
        file.create_dataset("neighbors", data=near.astype("<i4"))
        file.create_dataset("distances", data=far)
    with h5py.File(OUT / "packed.hdf5", "w") as file:
        how = {"chunks": (64, 3)}
        file.create_dataset("chunked", data=base, **how)
        file.create_dataset("gzip", data=base, compression="gzip", **how)
        file.create_dataset("shuffled", data=base, compression="gzip", shuffle=True, fletcher32=True, **how)
        file.create_dataset("growing", data=base, maxshape=(None, 5), **how)
        file.create_dataset("many", data=base, chunks=(1, 2))
        file.create_dataset("group/inner", data=queries, chunks=True, compression="gzip")
        for kind in NAMES:
            file.create_dataset(f"kinds/{kind}", data=matrix(9, 3, f"<{kind}"))
    with h5py.File(OUT / "latest.hdf5", "w", libver="latest") as file:
        file.attrs["distance"] = np.bytes_("angular")
        file.create_dataset("plain", data=base)
        file.create_dataset("single", data=base, chunks=(300, 5), compression="gzip")
        file.create_dataset("array", data=base, chunks=(64, 3))
        file.create_dataset("packed", data=base, chunks=(64, 3), compression="gzip", shuffle=True)
        file.create_dataset("paged", data=matrix(1100, 2, "<f4"), chunks=(1, 2))


def write():
    OUT.mkdir(exist_ok=True)
    for end, kind in RECORDS.items():
        write_records(OUT / f"small.{end}", matrix(11, 6, kind))
    for end, kind in HEADED.items():
        values = matrix(11, 6, kind)
        (OUT / f"small.{end}").write_bytes(struct.pack("<II", *values.shape) + values.tobytes())
    for kind in NAMES:
        np.save(OUT / f"{NAMES[kind]}.npy", matrix(9, 4, f"<{kind}"))
    for version in [(2, 0), (3, 0)]:
        with open(OUT / f"version{version[0]}.npy", "wb") as file:
            np.lib.format.write_array(file, matrix(3, 2, "<f4"), version=version)
    write_hdf5()
    tensors = {"other": np.arange(5, dtype="<f4"), "vectors": matrix(9, 4, "<f4")}
    safetensors.numpy.save_file(tensors, OUT / "two.safetensors", metadata={"made": "by hand"})
    kinds = {NAMES[kind]: matrix(9, 4, f"<{kind}") for kind in NAMES}
    safetensors.numpy.save_file(kinds, OUT / "kinds.safetensors")
    values = matrix(200, 3, "<f4")
    for name, how in COLUMNS.items():
        sheet = table(values, **how)
        with pa.ipc.new_file(OUT / f"{name}.arrow", sheet.schema) as file:
            file.write_table(sheet, max_chunksize=64)
        pa.parquet.write_table(sheet, OUT / f"{name}.parquet", row_group_size=64, data_page_size=256)
    sheet = table(values, fixed=True)
    with pa.ipc.new_stream(OUT / "stream.arrow", sheet.schema) as file:
        file.write_table(sheet, max_chunksize=64)
    for packing in ["lz4", "zstd"]:
        pa.feather.write_feather(sheet, OUT / f"{packing}.feather", compression=packing, chunksize=64)
    for packing in ["none", "gzip", "zstd", "lz4"]:
        pa.parquet.write_table(table(values, fixed=False), OUT / f"{packing}.parquet", compression=packing)
    for kind in NAMES:
        sheet = pa.table({"vectors": lists(matrix(9, 4, f"<{kind}"), fixed=True)})
        pa.parquet.write_table(sheet, OUT / f"{NAMES[kind]}.parquet")
        with pa.ipc.new_file(OUT / f"{NAMES[kind]}.arrow", sheet.schema) as file:
            file.write_table(sheet)
    write_truth()


COLUMNS = {"fixed": {"fixed": True}, "list": {"fixed": False}, "large": {"fixed": False, "large": True}}


def truth():
    ids = (np.arange(12, dtype="<u4").reshape(4, 3) * 7) % 11
    return ids, (ids * 0.5).astype("<f4")


def write_truth():
    ids, distances = truth()
    (OUT / "truth.bin").write_bytes(struct.pack("<II", *ids.shape) + ids.tobytes() + distances.tobytes())
    counts = np.array([5, 0, 4, 3], "<i4")
    head = struct.pack("<II", len(counts), ids.size) + counts.tobytes()
    (OUT / "range.rangeres").write_bytes(head + ids.tobytes() + distances.tobytes())


def read(path):
    """All matrices of a file, by part; None where the format has no parts."""
    end = path.suffix[1:]
    if end in RECORDS:
        return {None: read_records(path)}
    if end in HEADED:
        return {None: read_headed(path)}
    if end == "npy":
        return {None: np.load(path)}
    if end == "safetensors":
        return {name: values for name, values in safetensors.numpy.load_file(path).items() if values.ndim == 2}
    if end == "hdf5":
        found = {}
        with h5py.File(path) as file:
            file.visititems(lambda name, item: found.update({name: item[:]}) if isinstance(item, h5py.Dataset) else None)
        return found
    if end == "parquet":
        return {"vectors": unlist(pa.parquet.read_table(path)["vectors"])}
    if end == "feather":
        return {"vectors": unlist(pa.feather.read_table(path)["vectors"])}
    with pa.OSFile(str(path)) as file:
        opened = pa.ipc.open_stream(file) if path.stem == "stream" else pa.ipc.open_file(file)
        return {"vectors": unlist(opened.read_all()["vectors"])}


def entries():
    made = []
    for path in sorted(OUT.iterdir()):
        if path.suffix in [".json", ".bin", ".rangeres"]:
            continue
        for part, values in sorted(read(path).items(), key=lambda item: item[0] or ""):
            kind = NAMES[values.dtype.str[1:]]
            flat = [float(v) if values.dtype.kind == "f" else int(v) for v in values.ravel()]
            made.append({"file": path.name, "part": part, "element": kind, "shape": list(values.shape), "values": flat})
    return made


def describe():
    ids, distances = truth()
    versions = {"numpy": np.__version__, "h5py": h5py.__version__, "hdf5": h5py.version.hdf5_version}
    versions |= {"pyarrow": pa.__version__, "safetensors": safetensors.__version__}
    answers = {"ids": ids.tolist(), "distances": distances.tolist(), "counts": [5, 0, 4, 3]}
    return {"versions": versions, "files": entries(), "truth": answers}


def text(described):
    """One file a line, so that a difference is read quickly."""
    lines = ",\n".join("  " + json.dumps(entry) for entry in described["files"])
    rest = {key: value for key, value in described.items() if key != "files"}
    return json.dumps(rest)[:-1] + ', "files": [\n' + lines + "\n]}\n"


def check():
    """The files hold what the formula says and vectors.json lists, whichever versions wrote them."""
    listed = json.loads((OUT / "vectors.json").read_text())
    found = describe()
    wrong = [key for key in ["files", "truth"] if found[key] != listed[key]]
    for entry in found["files"]:
        kind = {name: kind for kind, name in NAMES.items()}[entry["element"]]
        # Neighbours are rows, so none is below 0.
        want = matrix(*entry["shape"], "u1" if entry["part"] == "neighbors" else kind)
        if entry["values"] != want.ravel().tolist():
            wrong.append(f"{entry['file']} {entry['part']}")
    if wrong:
        sys.exit(f"golden/vectors: not what the libraries read: {wrong}")


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        check()
    else:
        write()
        (OUT / "vectors.json").write_text(text(describe()))
