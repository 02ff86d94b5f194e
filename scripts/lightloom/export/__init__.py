"""Write light curves of a run as one file that other tools read, piece by piece."""

from lightloom.export.rows import EXPORTED, ExportSource
from lightloom.export.write import FORMATS, export

__all__ = ["EXPORTED", "FORMATS", "ExportSource", "export"]
