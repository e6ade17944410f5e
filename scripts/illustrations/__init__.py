"""The pictures and pages of the documentation that are made from the code."""
