"""What a method needs that no profile brings: models on GPUs, and how to serve them."""

from pydantic import Field

from harness.records import Record

_BYTES = 2  # of a parameter and of a cached value, in bfloat16
_GIB = 2**30


class ModelNeed(Record):
    """A model that has to be served, by the numbers of its card.

    parameters: in all. layers, kv_heads, head_dim: what a token in the cache costs. context: tokens
    of one attempt. attempts: how many at a time with their whole context in the cache.
    """

    model: str
    checkpoint: str = Field(description="What is to be there, and which command makes it.")
    parameters: int = Field(gt=0)
    layers: int = Field(gt=0)
    kv_heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    context: int = Field(gt=0)
    attempts: int = Field(gt=0)
    serve: str = Field(description="The command that serves it.")
    source: str = Field(description="Where the numbers are from.")

    @property
    def weights_gib(self) -> float:
        """GPU memory of the weights in bfloat16."""
        return self.parameters * _BYTES / _GIB

    @property
    def cache_gib(self) -> float:
        """GPU memory of the keys and values of all attempts at a time."""
        token = 2 * self.layers * self.kv_heads * self.head_dim * _BYTES
        return token * self.context * self.attempts / _GIB

    @property
    def text(self) -> str:
        """For a terminal: what has to be there, in three lines."""
        return (
            f"{self.model}: {self.checkpoint}\n"
            f"  GPU memory: {self.weights_gib:.1f} GiB of weights (bfloat16) and "
            f"{self.cache_gib:.1f} GiB of cache for {self.attempts} attempts of "
            f"{self.context:,} tokens (computed; {self.source})\n"
            f"  {self.serve}"
        )
