"""What people see: leaderboards and progress."""
