"""Models: serving a small one on the CPU. Everything that needs torch lives here."""
