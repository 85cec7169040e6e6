"""Services of the operating system: files, cores, child processes, memory."""
