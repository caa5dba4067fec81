"""Gates: which supervision each state gets. Source: CHOP §§3.2, 4.1, 4.2."""
