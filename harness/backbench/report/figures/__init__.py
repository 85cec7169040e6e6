"""Figures of the report: pure drawing functions, and what gathers their input."""
