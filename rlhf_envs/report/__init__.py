"""What people read and watch about a run: its report, charts, and films of policies."""
