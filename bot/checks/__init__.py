"""Checks for CI: text in, violations out. Pure; files, git, protoc and registries are read by the shell."""
