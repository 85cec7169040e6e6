"""``python -m backbench``."""

from backbench.cli.main import main

if __name__ == "__main__":
    main()
