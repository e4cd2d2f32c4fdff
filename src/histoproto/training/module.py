"""The Lightning module that trains any method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from histoproto.data.dataset import Sample
from histoproto.errors import RunError
from histoproto.methods.base import Method, features_of
from histoproto.model.network import EncodedNetwork
from histoproto.training.selection import mean_average_precision, standard_error


class TrainingModule(lightning.LightningModule):
    """Optimises a method's total loss with AdamW and validates on image labels.

    The learning rate falls linearly to zero; or it stays, and the weights of the last steps are averaged (Izmailov et
    al., *Averaging weights leads to wider optima and better generalization*, UAI 2018), and the statistics of batch
    normalisation with them.

    Args:
        method: network and losses.
        total_steps: optimiser steps of the whole training.
        validate_every: steps from one validation to the next.
        held_out_groups: region or slide of each held-out patch, in the order of the validation loader.
    """

    def __init__(self, method: Method, total_steps: int, validate_every: int, held_out_groups: Sequence[str]):
        super().__init__()
        self.method = method.to(memory_format=torch.channels_last)
        self.strict_loading = False  # frozen teachers are not part of a checkpoint
        self.total_steps, self.validate_every = total_steps, validate_every
        training = method.settings.training
        part = training.second_stage_averaging if training.second_stage else training.averaging
        self.averaged_from = (1 - part) * total_steps
        self.averaged = AveragedModel(method.network, use_buffers=True) if part else None
        if self.averaged is not None:
            self.averaged.requires_grad_(False)  # else several processes would wait for its gradients
        self.held_out_groups = held_out_groups
        self._validation: list[tuple[Tensor, Tensor]] = []

    @property
    def final_network(self) -> EncodedNetwork:
        """The weights to validate and save: the average, where there is one."""
        if self.averaged is None or self.averaged.n_averaged == 0:
            return self.method.network
        return cast(EncodedNetwork, self.averaged.module)

    @property
    def frozen(self) -> bool:
        """Whether the encoder is: then it is in no checkpoint, for it is what it was."""
        return self.method.settings.training.tuning == "frozen"

    def state_to_keep(self) -> dict[str, Tensor]:
        """The weights of `final_network` that training changes, on the CPU."""
        state = self.final_network.state_dict()
        kept = {name: value for name, value in state.items() if not (self.frozen and name.startswith("encoder."))}
        return {name: value.detach().cpu().contiguous() for name, value in kept.items()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave a frozen encoder out."""
        state = checkpoint["state_dict"]
        if self.frozen:
            checkpoint["state_dict"] = {name: value for name, value in state.items() if ".encoder." not in name}

    def configure_optimizers(self) -> Any:
        """AdamW; learning rates fall linearly (poly power 1) to zero over all steps, unless weights are averaged."""
        training = self.method.settings.training
        optimiser = torch.optim.AdamW(self.method.parameter_groups(), weight_decay=training.weight_decay)
        if self.averaged is not None:
            return optimiser
        total = self.total_steps
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: max(0.0, 1 - step / total))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_batch_start(self, batch: Sample, batch_idx: int) -> None:
        """Random numbers (dropout in the encoder) depend on the step alone, so a resumed run draws the same."""
        torch.manual_seed(hash((self.method.settings.seed, self.global_step, self.global_rank)) % 2**31)

    def training_step(self, batch: Sample, batch_idx: int) -> Tensor:
        """One step; every loss is logged under its name.

        Raises:
            RunError: the loss is not finite, from which no training recovers.
        """
        losses = self.method.losses(batch, progress=self.global_step / self.total_steps)
        if not losses["total"].isfinite():
            raise RunError(self._diverged(losses))
        self.log_dict({name: value.detach() for name, value in losses.items()}, sync_dist=True)
        return losses["total"]

    def _diverged(self, losses: dict[str, Tensor]) -> str:
        training = self.method.settings.training
        found = ", ".join(f"{name} {float(value):.3g}" for name, value in losses.items())
        return (
            f"the loss is not finite at step {self.global_step + 1} of {self.total_steps} ({found}): training has "
            f"diverged and was stopped, no model is saved; try a smaller training.learning_rate (now "
            f"{training.learning_rate:g}) and training.prototype_learning_rate (now "
            f"{training.prototype_learning_rate:g}), or training.precision=32 (now {training.precision}), in a new "
            "folder"
        )

    def validation_step(self, batch: Sample, batch_idx: int) -> None:
        """Class probabilities of held-out patches."""
        network = self.final_network
        logits = network.head(features_of(network, batch)).logits
        self._validation.append((logits.float().sigmoid(), batch["labels"].long()))

    def on_validation_epoch_end(self) -> None:
        """Mean average precision of the image labels, and its standard error."""
        probabilities, labels = (torch.cat(part).cpu().numpy() for part in zip(*self._validation, strict=True))
        self._validation.clear()
        present = labels > 0
        self.log("val_map", float(np.nan_to_num(mean_average_precision(probabilities, present))))
        self.log("val_map_error", standard_error(probabilities, present, self.held_out_groups))
