"""The usual loop: a DataLoader with workers, pictures transformed one by one, timm's model.

What `training.py` measures our loop against. Same pictures, split, sizes, batch, number of epochs,
kinds of augmentation, label smoothing, clipping, warm-up and cosine; its optimiser is AdamW with
a common learning rate for this size.
"""

import json
import math
import sys
import time

import torch
import torch.nn.functional as F
from contestants import SETTINGS, declare_torchvision_operators, timm
from torch import nn
from torch.utils.data import DataLoader, Dataset

from vit_tutorial.data import DATASETS
from vit_tutorial.optimizers import learning_rate
from vit_tutorial.recipes import Recipe, load_pictures

LR, DECAY = 2e-3, 0.05


class Pictures(Dataset):
    """Pictures as PIL images, transformed one by one when they are asked for."""

    def __init__(self, images, labels, transform):
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        from PIL import Image

        picture = Image.fromarray(self.images[index, 0].numpy())
        return self.transform(picture), int(self.labels[index])


def train(recipe: Recipe, device: str, workers: int, seed: int) -> None:
    """Train, and print a JSON line after every epoch."""
    declare_torchvision_operators()
    from torchvision import transforms

    torch.manual_seed(seed)
    mean, std = DATASETS[recipe.dataset].mean, DATASETS[recipe.dataset].std
    numbers = [transforms.ToTensor(), transforms.Normalize(mean, std)]
    changes = [
        transforms.RandomCrop(28, padding=recipe.shift),
        transforms.RandomHorizontalFlip(),
    ]
    images, labels, held_out, held_out_labels = load_pictures(recipe)
    options = {"num_workers": workers, "persistent_workers": workers > 0}
    if device == "cuda":
        options["pin_memory"] = True
    training = DataLoader(
        Pictures(images, labels, transforms.Compose(changes + numbers)),
        recipe.batch_size,
        shuffle=True,
        drop_last=True,
        **options,
    )
    choosing = DataLoader(
        Pictures(held_out, held_out_labels, transforms.Compose(numbers)), 500, **options
    )
    model = timm(SETTINGS["28x28"]).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=DECAY)
    steps = recipe.epochs * len(training)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate(step / steps, recipe.warm_up)
    )
    for epoch in range(recipe.epochs):
        model.train()
        began, pictures = time.perf_counter(), 0
        for x, y in training:
            x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
            with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                logits = model(x)
            loss = F.cross_entropy(logits.float(), y, label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            optimizer.step()
            schedule.step()
            pictures += len(y)
        if not math.isfinite(loss.item()):  # also waits for a GPU
            sys.exit(f"the loss is {loss.item()}")
        seconds = time.perf_counter() - began
        model.eval()
        right = 0
        with torch.no_grad():
            for x, y in choosing:
                right += (model(x.to(device)).argmax(dim=1).cpu() == y).sum().item()
        record = {
            "event": "epoch",
            "epoch": epoch + 1,
            "images_per_second": round(pictures / seconds),
            "seconds": round(time.perf_counter() - began, 2),
            "validation_accuracy": right / len(held_out),
        }
        print(json.dumps(record), flush=True)
