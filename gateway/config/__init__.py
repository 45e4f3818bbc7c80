"""The configuration: its sections, one file each, and how a YAML file is read and checked.

`root` gathers the sections into `Config`. `auth`, `rate_limits`, `prices`, `store`, `deadline`, `telemetry` and the
policies of a provider are defined beside the code that they configure, in `access`, `telemetry` and `policy`.

Naming: the class of a section or of an entry is called `...Settings`, and only the whole is called `Config`. A value
that the code also calculates with keeps its own name (`Price`).
"""
