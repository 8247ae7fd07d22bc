"""Alembic's environment, shipped with the package. Run through `autocompress.store.versions`."""
