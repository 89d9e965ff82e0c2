"""The version of lading: commands, API and stored state name it."""

VERSION = "0.1.0"
