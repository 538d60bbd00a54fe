"""One module a figure, or two of one shape."""

# Parts of a figure's SVG that the page looks for, as ids: the sentence in place of a figure; the
# notes, with their height in points after the name. As a class: the cells of a heat map.
NOTHING, NOTES, CELL = "nothing", "notes", "cell"
