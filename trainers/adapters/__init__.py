"""PI adapters: how far their predictions can be trusted, alone and together."""
