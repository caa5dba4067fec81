"""Methods: what a student learns from each token, one small file each."""
