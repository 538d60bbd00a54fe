"""One module a table; csv has every value, md, tex and html are for people."""
