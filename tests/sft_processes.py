"""What tests/stages/test_sft.py runs in processes of its own.

They are spawned, not forked: a fork inherits torch's thread pools broken.
"""

import faulthandler
import multiprocessing
import os
import signal

from accelerate.state import DistributedType, PartialState
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback

from tracedlm.models import training
from tracedlm.models.moment_recorder import MomentRecorder
from tracedlm.stages.sft import fine_tune as sft


def start(target, *arguments):
    process = multiprocessing.get_context("spawn").Process(
        target=target, args=arguments, daemon=True
    )
    process.start()
    return process


def exit_codes(*processes):
    """Wait for the processes; one that hangs is killed, and so has the code of SIGKILL."""
    for process in processes:
        process.join(120)
        process.kill()
        process.join()
    return [process.exitcode for process in processes]


class Killed(TrainerCallback):
    """SIGKILL, from which no process can clean up."""

    def __init__(self, where, step):
        self.where, self.step = where, step

    def _at(self, where, state):
        if where == self.where and state.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_substep_end(self, args, state, control, **_):
        self._at("between forwards", state)

    def on_save(self, args, state, control, **_):
        self._at("while saving", state)


def train_until(where, step, arguments):
    """``sft.train(*arguments)`` in a process that dies at ``step``."""

    class Dying(training.DiffusionTrainer):
        def __init__(self, *args, callbacks, **more):
            # In front of the recorder, so that a checkpoint it dies in lacks the recorder's state.
            super().__init__(*args, callbacks=[Killed(where, step), *callbacks], **more)

    sft.DiffusionTrainer = Dying
    sft.train(*arguments)


def train_as(rank, port, shard, arguments):
    """``sft.train(*arguments)`` as one of two processes.

    Dies if AdamW's states are not sharded as asked.
    """
    faulthandler.enable()
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE="2",
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=port,
    )

    class Watched(MomentRecorder):
        def on_optimizer_step(self, *args, optimizer, **more):
            assert all(
                isinstance(state["exp_avg"], DTensor) == shard for state in optimizer.state.values()
            )
            super().on_optimizer_step(*args, optimizer=optimizer, **more)

    if shard:
        PartialState.__init__ = as_accelerators(PartialState.__init__)
    sft.MomentRecorder = Watched
    sft.train(*arguments)


def as_accelerators(init):
    """accelerate shards on accelerators only.

    The tensors, their collectives and our code are the same on a CPU.
    """

    def begin(self, *args, **more):
        init(self, *args, **more)
        if self._shared_state["distributed_type"] == DistributedType.MULTI_CPU:
            self._shared_state["distributed_type"] = DistributedType.MULTI_GPU

    return begin
