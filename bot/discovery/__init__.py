"""Finding the pipelines of a running estate: gather facts through ports, judge them purely, write the `cdc.yml`."""
