"""Curricula in other libraries' training loops; a library is imported with the module that is named after it."""
