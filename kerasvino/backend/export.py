class OpenvinoExportArchive:
    pass
