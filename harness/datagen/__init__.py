"""Instances made from real packages: authored bugs in, validated suite rows out."""
