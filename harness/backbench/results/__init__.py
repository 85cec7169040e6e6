"""From stored predictions to results: outcomes, statistics, the leaderboard, comparisons."""
