"""What the operating system gives: files, cores, child processes, memory."""
