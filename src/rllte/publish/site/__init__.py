"""The site: pages about every cell, with charts, made from the catalogue, the tables and the documents."""

from rllte.publish.site.build import build_site

__all__ = ["build_site"]
