"""Errors that are the user's to mend: shown as one message, without a traceback."""

from harness.agents import AgentConfigError
from harness.agents.base import EndpointFailure
from harness.agents.repair.pi import PITextError
from harness.config import ConfigError
from harness.datagen.exchange import ExchangeError
from harness.datagen.routes import RouteError
from harness.datagen.trajectories_report import TrajectoriesError
from harness.datagen.triples_gate import TriplesError
from harness.environments.errors import ImageError
from harness.environments.recipe import RecipeError
from harness.gateway import RecordingError
from harness.grading.eval_script import EvalScriptError
from harness.leakage.filter_manifest import FilterError
from harness.leakage.ledger import LedgerError
from harness.leakage.material import AuditError
from harness.pipeline.run import PipelineError
from harness.rollouts.executors import ExecutorFailure
from harness.rollouts.ledger import RunBusyError
from harness.rollouts.lock import LockMismatchError
from harness.sandboxes.base import SandboxFailure
from harness.scoring.compare import NotPairedError
from harness.scoring.plan import PlanError
from harness.suites.errors import SuiteError
from pi_extractors.base import ExtractionError

USER_ERRORS = (
    AgentConfigError,
    AuditError,
    ConfigError,
    EndpointFailure,
    EvalScriptError,
    ExchangeError,
    ExecutorFailure,
    ExtractionError,
    FileNotFoundError,
    FilterError,
    ImageError,
    LedgerError,
    LockMismatchError,
    NotPairedError,
    PITextError,
    PipelineError,
    PlanError,
    RecipeError,
    RecordingError,
    RouteError,
    RunBusyError,
    SandboxFailure,
    SuiteError,
    TrajectoriesError,
    TriplesError,
)
