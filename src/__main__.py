"""`python src <verb>` runs the code of this checkout, whatever PYTHONPATH says."""

from lra.cli.__main__ import main

main()
