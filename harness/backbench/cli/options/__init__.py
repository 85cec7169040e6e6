"""Options that commands share, or that would fill a command's page."""
