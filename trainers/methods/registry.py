"""The methods by name."""

from typing import Annotated

from pydantic import Field

from trainers.methods.adapters import Adapters
from trainers.methods.chop import CHOP
from trainers.methods.distillm import DistiLLM
from trainers.methods.gkd import GKD
from trainers.methods.grpo import GRPO
from trainers.methods.omniopd import OmniOPD
from trainers.methods.opsd import OPSD
from trainers.methods.reverse_kl_opd import ReverseKLOPD
from trainers.methods.sampled_token_opd import SampledTokenOPD
from trainers.methods.sequence_kd import SequenceKD
from trainers.methods.sft import SFT
from trainers.methods.todi import ToDi
from trainers.methods.top_k_lsm import TopKLSM

AnyMethod = Annotated[
    SFT
    | SequenceKD
    | SampledTokenOPD
    | ReverseKLOPD
    | GKD
    | DistiLLM
    | ToDi
    | TopKLSM
    | GRPO
    | CHOP
    | OmniOPD
    | OPSD
    | Adapters,
    Field(discriminator="name"),
]
