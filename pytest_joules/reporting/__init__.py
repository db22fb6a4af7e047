"""Renderers of one :class:`~pytest_joules.model.RunResult`."""
