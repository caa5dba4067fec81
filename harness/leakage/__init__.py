"""Nothing crosses from test to train, and nothing from oracle to student: filter and audits."""
