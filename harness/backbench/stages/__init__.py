"""The stages: glue between the store, the data and the plugins.

Each module has one ``run(task)`` that reads inputs from the store, writes its artifact into
``task.folder`` and returns the fields of the record.
"""
