"""Policies compared side by side, from equal starts and without names, by people or by a scripted judge."""
