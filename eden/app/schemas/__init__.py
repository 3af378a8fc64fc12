"""JSON Schemas of EDEN's files, one file each, so that ``eden schema`` prints one without loading what defines it."""
