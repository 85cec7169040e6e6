"""Zoos: hashed sets of encoders, clean and backdoored, each with a card; built and checked."""
