"""Everything DICOM and nothing else: reading, writing and moving objects."""
