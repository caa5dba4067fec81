"""A plan in words."""

from trainers.engine.config import TrainSettings
from trainers.engine.run import Plan, free_disk, machine_memory

_GIB = 2**30


def show_plan(settings: TrainSettings, plan: Plan) -> str:
    """What `--dry-run` prints."""
    material, memory = plan.material, plan.memory
    trajectories = material.trajectories
    tokens = sum(len(one.ids) for one in trajectories)
    sampled = sum(one.sampled_tokens for one in trajectories)
    turns = sum(len(one.turns) for one in trajectories)
    graded = [one.outcome for one in trajectories if one.outcome is not None]
    instances = len({one.group for one in trajectories})
    batch = settings.batch.trajectories
    epochs = settings.optimiser.steps * batch / len(trajectories)
    lines = [
        f"method     {settings.method.name}",
        f"data       {len(trajectories):,} sequences of {instances:,} instances, {turns:,} turns; "
        f"{sampled:,} sampled of {tokens:,} tokens",
        f"           outcomes: {sum(graded):,} resolved, {len(graded) - sum(graded):,} not, "
        f"{len(trajectories) - len(graded):,} not graded",
        *(f"           {number:,} {what}" for what, number in sorted(material.data.counts.items())),
        f"steps      {settings.optimiser.steps:,} of {batch:,} sequences: {epochs:.2f} epochs; "
        f"{plan.steps_done:,} done",
        f"student    {memory.parameters:,} parameters, {memory.trained:,} of them trained",
        f"memory     about {memory.total / _GIB:.2f} GiB at the longest row of "
        f"{plan.longest_row:,} tokens, of {machine_memory() / _GIB:.1f} GiB here",
        *(f"           {size / _GIB:8.2f}  {part}" for part, size in memory.parts.items()),
        f"disk       {_checkpoints(settings, memory.trained) / _GIB:.2f} GiB of checkpoints, "
        f"{free_disk(settings.out) / _GIB:.1f} GiB free",
    ]
    return "\n".join(lines)


def _checkpoints(settings: TrainSettings, trained: int) -> int:
    """Bytes of the checkpoints that are kept while one more is written."""
    return (settings.checkpoints.keep + 1) * trained * 12
