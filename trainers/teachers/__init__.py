"""Teachers: next-token distributions at the student's states, with and without PI."""
