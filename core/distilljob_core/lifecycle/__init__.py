"""What happens next to a job's attempts: pure functions of what is seen, what is wanted and the time."""
