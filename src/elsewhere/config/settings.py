"""The settings of a person, a project and a call: which exist, what they hold, what each means.

Frozen dataclasses only, for they are also the schema of the settings file; nothing here reads a file,
and nothing heavy (pydantic, ruamel.yaml) is imported here.
"""
