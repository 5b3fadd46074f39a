"""What each of several processes does in the tests of the global batch mean; imports little, since each one waits."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from splare_plugins.training.losses import batch_mean, flops

TEXTS, INPUTS, WIDTH = 12, 5, 7


class Encoder(nn.Module):
    """One layer with a ReLU, so that gradients depend on the point."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layer = nn.Linear(INPUTS, WIDTH)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.log1p(torch.relu(self.layer(inputs)))


def all_inputs() -> Tensor:
    return torch.randn(TEXTS, INPUTS, generator=torch.Generator().manual_seed(4))


def shares(world: int, *, even: bool) -> list[Tensor]:
    """The texts of each process; uneven ones differ in number."""
    if even:
        return list(all_inputs().chunk(world))
    sizes = [1] * (world - 1)
    return list(all_inputs().split([*sizes, TEXTS - sum(sizes)]))


def gradient(model: nn.Module, inputs: Tensor) -> tuple[float, Tensor]:
    loss = flops(batch_mean(model(inputs)))
    loss.backward()
    (weight,) = (p for name, p in model.named_parameters() if name.endswith("weight"))
    assert weight.grad is not None
    return loss.item(), weight.grad.clone()


def work(rank: int, folder: str) -> None:
    """Gradients with 4 and with 2 processes; process 0 writes them."""
    torch.set_num_threads(1)
    found = {}
    for world in (4, 2):
        if rank >= world:
            break
        place = f"file://{folder}/meeting-{world}"
        distributed.init_process_group("gloo", init_method=place, rank=rank, world_size=world)
        for even in (True, False):
            loss, grad = gradient(DistributedDataParallel(Encoder()), shares(world, even=even)[rank])
            found[f"{world}-{even}"] = torch.cat([torch.tensor([loss]), grad.flatten()])
        distributed.destroy_process_group()
    if rank == 0:
        torch.save(found, Path(folder) / "found.pt")
