"""What runs: jobs and their schedules."""
