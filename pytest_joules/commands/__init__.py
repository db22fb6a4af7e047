"""The commands of ``pytest-joules``, one module each.

A module has two functions: ``add`` gives the command its parser, and ``run``
does what it asks for.  Whatever takes time to load is imported inside ``run``,
so that ``--help`` is quick.
"""
