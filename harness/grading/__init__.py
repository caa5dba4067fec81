"""From a patch to a verdict, by the official rules, in a fresh sandbox."""
