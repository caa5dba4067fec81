"""What a run does, as data: methods, profiles and the resolved configuration."""

from harness.config.load import (
    ConfigError,
    load_method,
    load_profile,
    method_names,
    on_profile,
    profile_names,
)
from harness.config.run import (
    AgentConfig,
    Method,
    ModelConfig,
    Profile,
    Replay,
    RunConfig,
    SuiteRef,
)

__all__ = [
    "AgentConfig",
    "ConfigError",
    "Method",
    "ModelConfig",
    "Profile",
    "Replay",
    "RunConfig",
    "SuiteRef",
    "load_method",
    "load_profile",
    "method_names",
    "on_profile",
    "profile_names",
]
