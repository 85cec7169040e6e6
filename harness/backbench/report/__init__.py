"""Output for people: leaderboards and progress."""
