"""What runs inside Python for celeriac's worker: the zygote, its children and the service (docs/host.md)."""

__version__ = "0.1.0"
