"""The methods by name."""

from typing import Annotated

from pydantic import Field

from trainers.methods.adapters import Adapters
from trainers.methods.chop import CHOP
from trainers.methods.distillm import DistiLLM
from trainers.methods.distillm2 import DistiLLM2
from trainers.methods.eopd import EOPD
from trainers.methods.f_distill import FDistill
from trainers.methods.gkd import GKD
from trainers.methods.grpo import GRPO
from trainers.methods.li_recipe import LiRecipe
from trainers.methods.minillm import MiniLLM
from trainers.methods.omniopd import OmniOPD
from trainers.methods.opsd import OPSD
from trainers.methods.pi_distill import PiDistill
from trainers.methods.reopold import REOPOLD
from trainers.methods.reverse_kl_opd import ReverseKLOPD
from trainers.methods.sampled_token_opd import SampledTokenOPD
from trainers.methods.sequence_kd import SequenceKD
from trainers.methods.sft import SFT
from trainers.methods.sod import SOD
from trainers.methods.todi import ToDi
from trainers.methods.top_k_lsm import TopKLSM

AnyMethod = Annotated[
    SFT
    | SequenceKD
    | SampledTokenOPD
    | ReverseKLOPD
    | GKD
    | DistiLLM
    | DistiLLM2
    | MiniLLM
    | FDistill
    | ToDi
    | TopKLSM
    | EOPD
    | REOPOLD
    | SOD
    | LiRecipe
    | GRPO
    | CHOP
    | OmniOPD
    | OPSD
    | PiDistill
    | Adapters,
    Field(discriminator="name"),
]
