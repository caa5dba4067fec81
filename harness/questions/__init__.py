"""Questions with an answer (mathematics) or with tests (programs), as instances of a run."""
